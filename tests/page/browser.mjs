// A headless Chromium, by the DevTools protocol over a pipe: no library is needed for it.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
  "--force-color-profile=srgb", "--remote-debugging-pipe", "--mute-audio"];

export class Browser {
  static async open(program = process.env.CHROMIUM || "chromium") {
    const browser = new Browser();
    browser.profile = mkdtempSync(join(process.env.TMPDIR || tmpdir(), "kanband-page."));
    browser.child = spawn(program, [...FLAGS, `--user-data-dir=${browser.profile}`, "about:blank"],
      { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    browser.waiting = new Map();
    browser.listeners = [];
    browser.next = 1;
    browser.ended = new Promise((resolve) => browser.child.on("exit", resolve));
    let text = "";
    browser.child.stdio[4].setEncoding("utf8").on("data", (data) => {
      text += data;
      for (let end; (end = text.indexOf("\0")) >= 0; text = text.slice(end + 1)) browser.take(JSON.parse(text.slice(0, end)));
    });
    const { targetInfos } = await browser.send("Target.getTargets");
    const page = targetInfos.find((target) => target.type === "page");
    const { sessionId } = await browser.send("Target.attachToTarget", { targetId: page.targetId, flatten: true });
    browser.session = sessionId;
    for (const domain of ["Page", "Runtime", "Network", "Log"]) await browser.send(`${domain}.enable`);
    return browser;
  }

  take(message) {
    const wait = this.waiting.get(message.id);
    if (wait) {
      this.waiting.delete(message.id);
      if (message.error) wait.reject(new Error(`${wait.method}: ${message.error.message}`));
      else wait.resolve(message.result);
    } else for (const listener of this.listeners) listener(message.method, message.params);
  }

  send(method, params = {}) {
    const id = this.next++;
    const message = { id, method, params };
    if (this.session) message.sessionId = this.session;
    this.child.stdio[3].write(JSON.stringify(message) + "\0");
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject, method }));
  }

  on(listener) { this.listeners.push(listener); }

  // The value of an expression, awaited; throws what it throws.
  async eval(expression) {
    const reply = await this.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true, userGesture: true });
    if (reply.exceptionDetails) throw new Error(`${expression.slice(0, 200)}: ${reply.exceptionDetails.exception?.description || reply.exceptionDetails.text}`);
    return reply.result.value;
  }

  // Until the expression is true. The bound is for what never comes true, on a busy machine too.
  async until(expression, ms = 60000) {
    const end = Date.now() + ms;
    for (;;) {
      if (await this.eval(expression).catch(() => false)) return;
      if (Date.now() > end) throw new Error(`not within ${ms} ms: ${expression}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async size(width, height, scale = 1) {
    await this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: scale, mobile: false });
  }

  async scheme(name) {
    await this.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: name }] });
  }

  async goto(url) { await this.send("Page.navigate", { url }); }

  async key(key, code = key, text) {
    const codes = { Tab: 9, Enter: 13, Escape: 27 };
    const params = { key, code, windowsVirtualKeyCode: codes[key] || 0, text: text ?? (key === "Enter" ? "\r" : undefined) };
    await this.send("Input.dispatchKeyEvent", { type: "keyDown", ...params });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...params });
  }

  async shot() {
    const { data } = await this.send("Page.captureScreenshot", { format: "png" });
    return Buffer.from(data, "base64");
  }

  async close() {
    this.session = undefined;
    this.send("Browser.close").catch(() => {});
    const timer = setTimeout(() => this.child.kill("SIGKILL"), 5000);
    await this.ended;
    clearTimeout(timer);
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
