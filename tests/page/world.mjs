// A kanban root with boards, a daemon that serves it, and kanbanctl web before it.
import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync, chmodSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export const TITLES = ["Rework the invoice export so that credit notes are in it", "Fix flaky login test", "Upgrade PostgreSQL to 16",
  "Write the migration guide", "Compare embedding models for search", "Dark mode for the settings page", "Rotate the signing keys",
  "Crash on startup when the cache is empty", "Speed up the nightly import", "Translate the onboarding mails",
  "Answer the security questionnaire", "Clean up feature flags", "Backfill missing thumbnails", "Draft the release notes"];

const out = resolve(process.env.OUT || "build/release");
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
export const now = () => Math.floor(Date.now() / 1000);
const sql = (value) => value === null || value === undefined ? "NULL" : typeof value === "number" ? value : `'${String(value).replaceAll("'", "''")}'`;

export class World {
  constructor() {
    this.dir = mkdtempSync(join(process.env.TMPDIR || tmpdir(), "kanband-page-world."));
    chmodSync(this.dir, 0o755);
    this.root = join(this.dir, "root");
    this.socket = join(this.dir, "control.sock");
    this.out = out;
    this.running = [];
    this.ids = 0;
    for (const profile of ["atlas", "nora", "jimmy"]) mkdirSync(join(this.root, "profiles", profile), { recursive: true });
    // a worker says something, has a heart, and goes on until the world ends
    this.worker = join(this.dir, "worker");
    writeFileSync(this.worker, `#!/bin/sh\necho "reading $HERMES_KANBAN_TASK"\n${join(out, "kanbanctl")} heartbeat >/dev/null 2>&1\n` +
      `echo "editing src/export.c … done"\necho "running the tests"\nwhile [ -d ${this.dir} ]; do sleep 0.2; done\n`);
    chmodSync(this.worker, 0o755);
    this.env = { PATH: process.env.PATH, HOME: this.dir, HERMES_KANBAN_HOME: this.root, HERMES_BIN: this.worker, LANG: "C.UTF-8" };
  }

  ctl(...args) { return execFileSync(join(out, "kanbanctl"), ["--root", this.root, ...args], { env: this.env, encoding: "utf8" }); }

  path(slug) { return slug === "default" ? join(this.root, "kanban.db") : join(this.root, "kanban/boards", slug, "kanban.db"); }

  // The first board is made by kanbanctl, the others are copies of it while it is empty.
  board(slug) {
    if (!this.empty) {
      this.ctl("init");
      this.empty = join(this.dir, "empty.db");
      copyFileSync(this.path("default"), this.empty);
    }
    if (slug === "default") return;
    mkdirSync(join(this.root, "kanban/boards", slug), { recursive: true });
    copyFileSync(this.empty, this.path(slug));
  }

  write(slug, text) { execFileSync("sqlite3", ["-cmd", ".timeout 20000", this.path(slug)], { input: `BEGIN;${text};COMMIT;` }); }

  // The SQL of a task; `more` are further columns.
  task(title, status, assignee, age, more = {}) {
    const row = { id: `t_${(0x1000 + this.ids++).toString(16).padStart(8, "0")}`, title, status, assignee, created_at: now() - age, workspace_kind: "scratch", ...more };
    this.last = row.id;
    return `INSERT INTO tasks (${Object.keys(row)}) VALUES (${Object.values(row).map(sql)});`;
  }

  run(task, outcome, ago, seconds, error = null) {
    return `INSERT INTO task_runs (task_id, profile, status, outcome, started_at, ended_at, error) VALUES ` +
      `(${[task, "atlas", outcome === "completed" ? "done" : outcome, outcome, now() - ago - seconds, now() - ago, error].map(sql)});`;
  }

  // A board as it looks in the middle of a day.
  busy(slug, seed) {
    let state = seed * 7919 + 17, text = "";
    const random = (n) => (state = (state * 1103515245 + 12345) % 2147483648) % n;
    const title = () => TITLES[random(TITLES.length)];
    this.board(slug);
    for (let i = 0; i < 14 + random(40); i++) {
      text += this.task(title(), "done", "atlas", 90000);
      text += this.run(this.last, random(11) ? "completed" : "crashed", 60 + random(86000), 30 + random(4000), "exit code 1");
    }
    for (let i = 0; i < 1 + random(3); i++) text += this.task(title(), "ready", ["atlas", "nora", "jimmy"][random(3)], random(9000), { priority: random(4) ? 0 : 5 });
    text += this.task(title(), "ready", null, 4000);
    if (seed % 3 === 0) text += this.task("Import the customer list", "ready", "ghost", 5000);
    text += this.task("Decide which region to deploy to", "blocked", "nora", 7000);
    if (seed % 2) {
      text += this.task(title(), "blocked", "atlas", 7000, { consecutive_failures: 3, last_failure_error: "exit code 1: ModuleNotFoundError: no module named pandas" });
      const parent = this.last;
      text += this.run(parent, "crashed", 900, 40, "exit code 1: ModuleNotFoundError: no module named pandas");
      for (let i = 0; i < 3; i++) {
        text += this.task(title(), "todo", "atlas", 500);
        text += `INSERT INTO task_links (parent_id, child_id) VALUES (${sql(parent)}, ${sql(this.last)});`;
      }
    }
    this.write(slug, text);
  }

  damage(slug) { writeFileSync(this.path(slug), Buffer.alloc(40960, 0x5a)); }

  spawn(program, args, options = {}) {
    const child = spawn(program, args, { env: this.env, stdio: ["ignore", "pipe", "pipe"], ...options });
    child.text = "";
    child.err = "";
    child.stdout.setEncoding("utf8").on("data", (data) => { child.text += data; });
    child.stderr.setEncoding("utf8").on("data", (data) => { child.err += data; });
    child.over = new Promise((done) => child.on("exit", (code, signal) => done(code ?? signal)));
    this.running.push(child);
    return child;
  }

  async until(what, ms, why) {
    for (const end = Date.now() + ms; ;) {
      if (await what()) return;
      if (Date.now() > end) throw new Error(`not within ${ms} ms: ${why}`);
      await sleep(30);
    }
  }

  async start() {
    this.daemon = this.spawn(join(out, "kanband"), ["--root", this.root, "--socket", this.socket, "--launcher", "fork"]);
    await this.until(() => this.ready(), 60000, `it is not ready: ${this.log()}`);
  }

  ready() {
    return new Promise((done) => {
      const request = http.get({ socketPath: this.socket, path: "/readyz", agent: false }, (reply) => {
        reply.resume();
        done(reply.statusCode === 200);
      });
      request.on("error", () => done(false));
    });
  }

  async stop(signal = "SIGTERM") {
    this.daemon.kill(signal);
    await this.daemon.over;
  }

  // kanbanctl web; Return: the address. `before`: words in front of the command
  async web(before = []) {
    const words = [...before, join(out, "kanbanctl"), "--root", this.root, "--socket", this.socket, "web", "--no-open"];
    const child = this.web_child = this.spawn(words[0], words.slice(1));
    await this.until(() => child.text.includes("\n") || child.exitCode !== null, 30000, "an address");
    if (child.exitCode !== null) throw new Error(`kanbanctl web: ${child.exitCode}: ${child.err}`);
    return child.text.split("\n")[0];
  }

  log() { return this.daemon ? this.daemon.err : ""; }

  async end() {
    for (const child of this.running) if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
    await Promise.all(this.running.map((child) => child.over));
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

export { sleep };
