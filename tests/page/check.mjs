// The page in a real browser: node check.mjs AXE. Says "ok - …" for each thing seen.
import { chmodSync, readFileSync } from "node:fs";
import http from "node:http";
import { Browser } from "./browser.mjs";
import { World, sleep } from "./world.mjs";

const axe = readFileSync(process.argv[2], "utf8");
const ok = (what) => console.log(`ok - ${what}`);
function must(condition, why) { if (!condition) throw new Error(why); }

// One request by hand. Return: status, headers, body
function get(url, { method = "GET", headers = {}, body } = {}) {
  return new Promise((done, fail) => {
    const request = http.request(url, { method, headers, agent: false }, (reply) => {
      let text = "";
      reply.setEncoding("utf8").on("data", (data) => { text += data; }).on("end", () => done({ status: reply.statusCode, headers: reply.headers, text }));
    });
    request.on("error", fail);
    request.end(body);
  });
}

// What went wrong in the browser meanwhile.
const faults = [], asked = [];
function watch(browser) {
  browser.on((method, p) => {
    if (method === "Runtime.exceptionThrown") faults.push(p.exceptionDetails.exception?.description || p.exceptionDetails.text);
    if (method === "Page.javascriptDialogOpening") faults.push(`a dialog: ${p.message}`);
    if (method === "Log.entryAdded" && p.entry.source === "security") faults.push(p.entry.text);
    if (method === "Network.requestWillBeSent") asked.push(p.request.url);
  });
}

const LIVE = "document.getElementById('link').dataset.state === 'live' && state.queue.length === 0 && state.asking === 0";

async function accessible(browser, where) {
  // into the page's world past its policy, as an extension would
  await browser.eval(`${axe}; true`);
  const found = await browser.eval(`axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] })
    .then((result) => result.violations.map((v) => v.id + ": " + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + " " + (n.any[0] ? n.any[0].message : "")).join(" | ")))`);
  must(found.length === 0, `axe, ${where}: ${found.join("\n")}`);
}

async function wide(browser, where) {
  const [page, window] = await browser.eval("[document.documentElement.scrollWidth, innerWidth]");
  must(page <= window, `${where}: it is ${page} wide in a window of ${window}`);
}

// ── who is served ──
async function doors(url) {
  const at = new URL(url), base = at.origin;
  must((await get(base + "/")).status === 403, "the port serves without a token");
  must((await get(base + "/v1/status")).status === 403, "the API is served without a token");
  must((await get(base + "/?token=" + "0".repeat(32))).status === 403, "any token will do");
  must((await get(base + "/" + "0".repeat(32) + "/v1/status")).status === 403, "any secret will do");
  must((await get(url, { headers: { Host: "evil.example:" + at.port } })).status === 403, "a foreign name is served");
  const first = await get(url);
  must(first.status === 303 && /^\/[0-9a-f]{32}\/$/.test(first.headers.location), `no way in: ${first.status}`);
  const again = await get(url);
  must(again.status === 403 && again.text.includes("works once"), "the token works twice");
  const home = base + first.headers.location;
  const page = await get(home);
  must(page.status === 200 && page.headers["content-type"].startsWith("text/html"), `no page: ${page.status}`);
  must(page.headers["content-security-policy"].includes("default-src 'none'"), "no policy");
  must(!/<(script|link|img)[^>]+(src|href)="?(https?:)?\/\//i.test(page.text), "something is loaded from elsewhere");
  must((await get(home + "v1/tick", { method: "POST", headers: { "Sec-Fetch-Site": "cross-site" } })).status === 403, "another site's page may act");
  must((await get(home + "v1/tick", { method: "POST", headers: { Origin: "http://evil.example" } })).status === 403, "another origin may act");
  must((await get(home + "v1/status", { headers: { Host: "evil.example:" + at.port } })).status === 403, "a site's name that leads here may read");
  must((await get(home + "v1/tick", { method: "POST", headers: { Origin: base, "Sec-Fetch-Site": "same-origin" } })).status === 200, "the page may not act");
  ok("the port serves whoever has the token, once, and nobody else");
  return home;
}

// ── a day with a few boards ──
async function day(browser, world, home) {
  await browser.size(1440, 900);
  await browser.goto(home);
  await browser.until(`${LIVE} && document.querySelectorAll('.group.run .task').length > 0`);
  must(await browser.eval("document.querySelectorAll('.board').length >= 4"), "boards are missing");
  must(await browser.eval("document.querySelector('#quiet-list').textContent.includes('silent')"), "no quiet board");
  await browser.until("document.querySelector('#troubles-list').textContent.includes('Board broken is quarantined')");
  must(await browser.eval("document.querySelector('#troubles-list code').textContent === 'kanbanctl check broken'"), "no remedy");
  must(await browser.eval("[...document.querySelectorAll('.group h4')].some((h) => h.textContent.startsWith('Ready: for ghost, which has no profile here'))"), "no reason for what waits");
  must(await browser.eval("[...document.querySelectorAll('.group h4')].some((h) => h.textContent.includes('given up after 3 failures'))"), "no reason for what is blocked");
  const said = await browser.eval("[document.querySelector('#troubles-list .what').textContent.split(': ').slice(1).join(': '), document.querySelector('.board.bad .why').textContent]");
  must(said[1].length > 20 && !said[1].includes(said[0]), `said twice: ${said[0]} / ${said[1]}`);
  ok("what runs, what waits and because of what, and what needs somebody");

  must(await browser.eval("document.querySelector('#boards').textContent.includes('<img src=x onerror=')"), "the hostile title is not shown as it is");
  must(await browser.eval("document.querySelectorAll('main img, main script, main iframe').length === 0"), "a title became markup");
  ok("a hostile title is text");

  for (const [name, width, height] of [["phone", 360, 740], ["tablet", 820, 1100], ["desktop", 1440, 900], ["4k", 3840, 2160]])
    for (const scheme of ["light", "dark"]) {
      await browser.size(width, height);
      await browser.scheme(scheme);
      await browser.until(LIVE);
      await wide(browser, `${name}, ${scheme}`);
      await accessible(browser, `${name}, ${scheme}`);
    }
  ok("no violation of accessibility and nothing cut off, from 360 px to 4K, light and dark");

  await browser.size(1440, 900);
  await browser.key("/", "Slash", "/");
  must(await browser.eval("document.activeElement.id === 'find'"), "/ does not lead to the search");
  await browser.send("Input.insertText", { text: "customer" });
  await browser.until("document.querySelectorAll('.task').length > 0 && [...document.querySelectorAll('.task .title')].every((t) => t.textContent.includes('customer'))");
  await browser.key("Escape");
  await browser.until("document.querySelectorAll('.group.run .task').length > 0");
  await browser.eval("document.querySelector('.group.run .task').focus()");
  await browser.key("Enter");
  await browser.until("document.getElementById('task').open && document.querySelector('#task pre').textContent.includes('running the tests')");
  await accessible(browser, "a task");
  await wide(browser, "a task");
  await browser.key("Escape");
  await browser.until("!document.getElementById('task').open");
  must(await browser.eval("document.activeElement.classList.contains('task')"), "the focus is lost behind the dialog");
  ok("by keyboard: find, open a task with its log, go back to where one was");

  world.ctl("--board", "alpha", "add", "A task that comes while one looks");
  await browser.until("document.querySelector('#boards').textContent.includes('A task that comes while one looks')");
  ok("what is new comes by itself");
  await browser.eval("[...document.querySelectorAll('.board')].find((b) => b.textContent.startsWith('alpha')).querySelector('.board-tools button').click()");
  await browser.until("[...document.querySelectorAll('.board')].find((b) => b.textContent.startsWith('alpha')).querySelector('.pill').textContent === 'paused'");
  ok("whoever may change things pauses a board");

  world.write("beta", world.task("Lost soon", "ready", "ghost", 10));
  await world.stop();
  world.damage("beta");
  await world.start();
  await browser.until("document.querySelector('#troubles-list').textContent.includes('Board beta is quarantined')");
  await browser.until("[...document.querySelectorAll('.board')].find((b) => b.textContent.startsWith('beta')).querySelectorAll('.task').length === 0");
  ok("a board that goes bad shows what is wrong, and nothing that does not hold any more");

  await world.stop("SIGKILL");
  await browser.until("document.getElementById('link').dataset.state === 'lost'");
  must(await browser.eval("document.querySelectorAll('.board .task').length > 0 && document.getElementById('link-text').textContent.includes('as of')"), "what was known is gone");
  await accessible(browser, "the connection is lost");
  await world.start();
  await browser.until("document.getElementById('link').dataset.state === 'live'");
  ok("a lost connection is told, what was known stays, and it comes back by itself");

  // a connection that is there again before the daemon answers
  await browser.until("state.asking === 0 && state.queue.length === 0 && [...state.boards.values()].every((board) => !board.seen || !board.dirty)");
  await browser.eval(`window.real = window.fetch; window.fetch = (url, how) => /tasks|activity/.test(url) ? Promise.reject(new Error("away")) : real(url, how);
    for (const board of state.boards.values()) Object.assign(board, { tasks: {}, activity: null, dirty: true }); refresh()`);
  await browser.until("state.asking === 0 && state.queue.length === 0 && document.querySelectorAll('.board .task').length === 0");
  await browser.eval("window.fetch = window.real; refresh()");
  await browser.until("document.querySelectorAll('.board .task').length > 0");
  ok("what was asked for in vain is asked for again");
}

// ── who may only read ──
async function reader(browser, world) {
  if (process.getuid() !== 0) return;
  chmodSync(world.socket, 0o666);
  const url = await world.web(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
  await browser.goto(url);
  await browser.until(`${LIVE} && document.querySelectorAll('.board .task').length > 0`);
  must(await browser.eval("[...document.querySelectorAll('.may-change')].every((b) => b.hidden) && document.querySelectorAll('.board-tools').length === 0"), "a reader is offered what he may not do");
  must(await browser.eval("document.getElementById('foot').textContent.includes('read-only')"), "a reader is not told");
  const home = await browser.eval("location.href");
  must((await get(home + "v1/drain", { method: "POST" })).status === 403, "a reader may drain");
  ok("who may only read is offered nothing else");
}

// ── very much ──
async function much(browser) {
  const world = new World();
  try {
    world.board("default");
    world.board("a-large-one");
    let text = "";
    for (let i = 0; i < 5000; i++) text += world.task(`Task ${i} of many`, "ready", "ghost", i);
    world.write("a-large-one", text);
    for (let i = 1; i < 499; i++) world.board(`board-${String(i).padStart(3, "0")}`);
    for (let i = 1; i < 60; i++) world.write(`board-${String(i).padStart(3, "0")}`, world.task("One that waits", "ready", "ghost", 60));
    await world.start();
    asked.length = 0;
    await browser.size(1440, 900);
    await browser.goto(await world.web());
    await browser.until(`${LIVE} && document.querySelectorAll('.board').length + document.querySelectorAll('#quiet-list li').length === 500
      && document.querySelectorAll('.board').length === 60 && document.querySelectorAll('.board .task').length > 0`, 120000);
    await browser.until("[...document.querySelectorAll('.more')].some((p) => p.textContent === 'and 4,995 more')");
    must(await browser.eval("document.querySelectorAll('.board')[0].querySelectorAll('.task').length < 20"), "5,000 tasks are all drawn");
    await wide(browser, "500 boards");
    must(asked.length < 200, `${asked.length} requests for what is on the screen`);
    await browser.eval("scrollTo(0, document.body.scrollHeight)");
    await browser.until(`${LIVE} && document.querySelectorAll('.board .task').length > 20`);
    ok("500 boards and 5,000 tasks: what is on the screen is asked for, the rest is counted");
  } finally {
    await world.end();
  }
}

const world = new World(), browser = await Browser.open();
let failed = 0;
try {
  watch(browser);
  world.busy("default", 1);
  world.busy("alpha", 2);
  world.busy("beta", 3);
  world.board("silent");
  world.board("broken");
  world.write("broken", world.task("Lost", "ready", "ghost", 10));
  world.damage("broken");
  world.write("beta", world.task("<img src=x onerror=alert(1)><script>alert(2)</script>\u202edesrever", "ready", null, 10) +
    world.task(`A title ${"that goes on ".repeat(40)}`, "ready", null, 5) + world.task("x".repeat(400), "ready", null, 5));
  await world.start();
  const home = await doors(await world.web());
  if (!process.env.ONLY) await day(browser, world, home);
  if (!process.env.ONLY) await reader(browser, world);
  await much(browser);
  must(faults.length === 0, `in the browser: ${faults.join("\n")}`);
  must(asked.every((url) => /^(http:\/\/127\.0\.0\.1:|data:|about:)/.test(url)), `asked elsewhere: ${asked.find((url) => !url.startsWith("http://127.0.0.1:"))}`);
  ok("no error in the browser, and nothing asked of anybody else");
} catch (error) {
  console.log(`not ok - ${error.stack}\n# ${world.log().split("\n").slice(-12).join("\n# ")}`);
  failed = 1;
} finally {
  await browser.close();
  await world.end();
}
process.exit(failed);
