// Pictures of the page at four sizes, light and dark, and of `kanbanctl top`: node shots.mjs FOLDER
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Browser } from "./browser.mjs";
import { Terminal } from "./terminal.mjs";
import { World, sleep } from "./world.mjs";

const SIZES = [["phone", 360, 740, 2], ["tablet", 820, 1100, 1], ["desktop", 1440, 900, 1], ["4k", 3840, 2160, 1]];
const TERMINALS = [["narrow", 60, 20], ["usual", 80, 24], ["wide", 120, 34], ["large", 200, 50]];
const READY = "document.getElementById('link').dataset.state === 'live' && state.asking === 0 && state.queue.length === 0";
const folder = process.argv[2];
mkdirSync(folder, { recursive: true });
const world = new World(), browser = await Browser.open();

async function picture(name) {
  await browser.until(READY);
  await sleep(600); // transitions
  writeFileSync(join(folder, `${name}.png`), await browser.shot());
}
async function everywhere(name) {
  for (const [size, width, height, scale] of SIZES)
    for (const scheme of ["light", "dark"]) {
      await browser.size(width, height, scale);
      await browser.scheme(scheme);
      await picture(`page${name}-${size}-${scheme}`);
    }
}

// What a terminal shows, as it is, in both schemes.
async function terminal_picture(terminal, name) {
  for (const theme of ["dark", "light"]) {
    await browser.goto("about:blank");
    await browser.eval(`document.open(), document.write(${JSON.stringify(terminal.html(theme))}), document.close()`);
    const [width, height] = await browser.eval("[document.querySelector('pre').offsetWidth + 32, document.querySelector('pre').offsetHeight + 28]");
    await browser.size(width, height);
    writeFileSync(join(folder, `${name}-${theme}.png`), await browser.shot());
  }
}

async function top() {
  for (const [size, columns, rows] of TERMINALS) {
    const terminal = new Terminal(world, columns, rows, [join(world.out, "kanbanctl"), "--root", world.root, "--socket", world.socket, "top"]);
    const shows = (text) => world.until(() => terminal.text().includes(text), 20000, `${text} in top`);
    try {
      await shows("WORKERS");
      await terminal_picture(terminal, `top-${size}`);
      if (size !== "usual") continue;
      for (const [key, name, text] of [["?", "help", "log"], ["Enter", "task", "Events"], ["l", "log", "running the tests"]]) {
        terminal.keys(key);
        await shows(text);
        await terminal_picture(terminal, `top-${name}`);
        terminal.keys("q");
        await shows("WORKERS");
      }
    } finally {
      terminal.end();
    }
  }
}

try {
  ["default", "billing", "docs", "infra", "mobile", "research", "website"].forEach((slug, i) => world.busy(slug, i));
  for (let i = 1; i < 10; i++) world.board(`team-${i}`);
  await world.start();
  await browser.size(1440, 900);
  await browser.goto(await world.web());
  await browser.until(`${READY} && document.querySelectorAll('.group.run .task').length > 3`);
  await everywhere("");
  await browser.size(1440, 900);
  await browser.eval("document.querySelector('.group.run .task').click()");
  await browser.until("document.getElementById('task').open && document.querySelector('#task pre').textContent.includes('tests')");
  for (const scheme of ["light", "dark"]) {
    await browser.scheme(scheme);
    await picture(`page-task-${scheme}`);
  }
  const home = await browser.eval("location.href");
  await top();
  await browser.size(1440, 900);
  await browser.goto(home);
  await browser.until(READY);
  world.write("infra", world.task("Lost", "ready", "ghost", 10));
  await world.stop();
  world.damage("infra");
  await world.start();
  await browser.until("document.querySelector('#troubles-list').textContent.includes('quarantined')");
  await everywhere("-trouble");
  console.log(`pictures in ${folder}`);
} finally {
  await browser.close();
  await world.end();
}
