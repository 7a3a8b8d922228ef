/*
 * The page of kanband, over the API that conf/openapi.yaml describes.
 *
 * One picture of the state (`status`) is asked for at the start, after every burst of events and
 * every 15 s. Boards that are on the screen and have something to show ask for their tasks, a few
 * at a time, and again when an event names them or their counts change.
 *
 * Whatever a board holds is put in as text (textContent), never as markup.
 */
"use strict";

const $ = (id) => document.getElementById(id);
const POLL_MS = 15000, AFTER_EVENT_MS = 250, RECONNECT_MS = 2000, AT_ONCE = 4;
const SHOWN = { running: 12, ready: 5, blocked: 5, review: 4, failures: 3 };
const STALE_S = 120, GONE_S = 600; // of a heartbeat

const state = {
  status: null, boards: new Map(), // key → { info, tasks, activity, node, drawn, dirty, seen }
  told: new Set(), // keys of the boards that are named in the list of troubles
  find: "", skew: 0, queue: [], asking: 0, pinned: new Set(), mayChange: false,
};

/* ---- small things -------------------------------------------------------------------------- */

/* make("p", "class", child…): children are nodes or texts */
function make(tag, cls, ...children) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  for (const child of children) if (child !== null && child !== undefined) node.append(child);
  return node;
}

const now = () => Date.now() / 1000 + state.skew;
const plural = (n, one, many) => `${n.toLocaleString("en")} ${n === 1 ? one : many || one + "s"}`;

/* One unit: a look is to be enough. */
function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s < 90 * 60) return `${Math.round(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} days`;
}

/* A text that grows older by itself. */
function age(at, cls, say = (t) => t) {
  const node = make("span", cls);
  node.dataset.at = at;
  node.say = say;
  node.textContent = say(span(now() - at));
  return node;
}

function when(at) {
  return at ? new Date(at * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) : "–";
}

let toastTimer = 0;
function toast(text) {
  $("toast").textContent = text;
  $("toast").classList.add("on");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => $("toast").classList.remove("on"), 6000);
}

/* ---- asking -------------------------------------------------------------------------------- */

async function ask(path, method = "GET", body) {
  const reply = await fetch(path, {
    method, cache: "no-store",
    headers: body ? { "Content-Type": "application/json" } : {},
    body: body ? JSON.stringify(body) : undefined,
  });
  const json = await reply.json();
  if (!reply.ok) throw new Error(json.detail || reply.statusText);
  return json;
}

/* A few requests at a time, in order. */
function later(job) {
  state.queue.push(job);
  pump();
}
function pump() {
  while (state.asking < AT_ONCE && state.queue.length > 0) {
    const job = state.queue.shift();
    state.asking++;
    job().catch(() => {}).finally(() => { state.asking--; pump(); });
  }
}

async function act(path, done) {
  try {
    await ask(path, "POST");
    toast(done);
  } catch (error) {
    toast(error.message);
  }
  refresh();
}

const at = (board, rest, query = "") =>
  `v1/boards/${encodeURIComponent(board.slug)}${rest}?root=${encodeURIComponent(board.root)}${query}`;

/* ---- the connection ------------------------------------------------------------------------ */

let lastSeen = 0, events = null;
function link(how) {
  const lost = how === "lost";
  document.body.classList.toggle("lost", lost);
  if ($("link").dataset.state === how && !lost) return;
  $("link").dataset.state = how;
  $("link-text").textContent = how === "live" ? "live" : lost
    ? `connection lost${lastSeen ? `; as of ${new Date(lastSeen).toLocaleTimeString()}` : ""}, trying again` : "connecting";
}

function listen() {
  if (events) events.close();
  events = new EventSource("v1/events");
  events.onopen = () => refresh();
  events.onerror = () => {
    link("lost");
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, RECONNECT_MS);
  };
  const heard = (message) => {
    const event = JSON.parse(message.data);
    for (const board of state.boards.values())
      if (!event.board || (board.info.slug === event.board && board.info.root === event.root)) board.dirty = true;
    refresh(AFTER_EVENT_MS);
  };
  for (const kind of ["gap", "board", "paused", "resumed", "lease-owner", "lease-standby", "lease-lost",
    "board-bad", "board-well", "spawned", "adopted", "spawn-failed", "worker-ended", "gave-up", "reclaimed", "stuck-ready",
    "config", "repaired", "overdue", "parked", "unserved", "outbox", "other"]) events.addEventListener(kind, heard);
}

let timer = 0, asking = false, again = false;
function refresh(in_ms = 0) {
  clearTimeout(timer);
  timer = setTimeout(look, in_ms);
}
async function look() {
  if (asking) { again = true; return; }
  asking = true;
  try {
    const status = await ask("v1/status");
    state.status = status;
    state.skew = status.now - Date.now() / 1000;
    state.mayChange = status.may_change;
    lastSeen = Date.now();
    link("live");
    take(status);
    draw();
  } catch (error) {
    link("lost");
  }
  asking = false;
  refresh(again ? AFTER_EVENT_MS : document.body.classList.contains("lost") ? RECONNECT_MS : POLL_MS);
  again = false;
}

/* ---- boards -------------------------------------------------------------------------------- */

const keyOf = (info) => `${info.root}\n${info.slug}`;
const GOOD = new Set(["healthy", "archived", "missing", "duplicate", "new", "paused"]);
const isBad = (info) => !GOOD.has(info.state);
const count = (info, ...names) => names.reduce((n, name) => n + ((info.tasks && info.tasks[name]) || 0), 0);

function take(status) {
  const there = new Set();
  for (const root of status.roots)
    for (const info of root.boards) {
      const key = keyOf(info);
      there.add(key);
      const board = state.boards.get(key) || { key, tasks: {}, activity: null, node: null, dirty: true, seen: false };
      if (board.info && (JSON.stringify(board.info.tasks) !== JSON.stringify(info.tasks) || board.info.state !== info.state)) board.dirty = true;
      board.info = info;
      state.boards.set(key, board);
    }
  for (const [key, board] of state.boards)
    if (!there.has(key)) {
      if (board.node) board.node.remove();
      state.boards.delete(key);
    }
}

/* Is there anything on it to look at? */
const isQuiet = (board) => !isBad(board.info) && board.info.state !== "paused" && !state.pinned.has(board.key) &&
  count(board.info, "running", "ready", "review", "blocked") === 0 && !matchesTask(board);

/* What comes first: trouble, then work, then what waits. */
function rank(board) {
  const i = board.info;
  return (isBad(i) ? 0 : count(i, "running") ? 1 : count(i, "ready", "review") ? 2 : 3);
}

function fetchBoard(board) {
  board.dirty = false;
  if (isBad(board.info)) { // what was known of it does not hold any more
    board.tasks = {};
    board.activity = null;
    drawBoard(board);
    return;
  }
  // what came to nothing, as while the daemon is restarted, is asked again at the next news
  const wanted = (job) => later(() => job().catch(() => { board.dirty = true; }));
  for (const status of ["running", "ready", "review", "blocked"])
    if (count(board.info, status) > 0)
      wanted(async () => {
        const reply = await ask(at(board.info, "/tasks", `&status=${status}&limit=${state.find ? 200 : SHOWN[status] + 1}`));
        board.tasks[status] = reply.tasks;
        drawBoard(board);
      });
    else delete board.tasks[status];
  wanted(async () => {
    board.activity = await ask(at(board.info, "/activity"));
    drawBoard(board);
    drawTiles();
  });
}

const onScreen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const board = state.boards.get(entry.target.dataset.key);
    if (!board) continue;
    board.seen = entry.isIntersecting;
    if (board.seen && board.dirty) fetchBoard(board);
  }
}, { rootMargin: "300px" });

/* ---- because of what ----------------------------------------------------------------------- */

/* Why a task does not run, as one sentence; the same sentence for the same reason. */
function because(task) {
  switch (task.status) {
  case "triage": return "nobody has said what is to be done";
  case "todo": return "waits for the tasks that it depends on";
  case "scheduled": return "its time has not come";
  case "blocked":
    return task.consecutive_failures > 0 && task.last_failure_error
      ? `given up after ${plural(task.consecutive_failures, "failure")}` : "waits for somebody's answer";
  case "ready": case "review":
    if (task.held) return task.held.text.replace(/^it (has|is) |^it (?=waits)/, "");
    return "is about to start";
  default: return "";
  }
}

/* ---- drawing ------------------------------------------------------------------------------- */

const fold = (text) => (text || "").toLowerCase();
const matchesText = (text) => fold(text).includes(state.find);
const matchesBoard = (board) => !state.find || matchesText(board.info.slug);
const matchesRow = (task) => !state.find || matchesText(task.title) || matchesText(task.id) || matchesText(task.assignee);
const matchesTask = (board) => state.find !== "" &&
  Object.values(board.tasks).some((list) => list.some(matchesRow));

function tile(title, value, note, cls = "") {
  return make("dl", `tile ${cls}`, make("dt", "", title), make("dd", "value", value), make("dd", "note", note));
}

/* What the ready tasks wait for, most of all. */
function readyNote(sum) {
  const s = state.status, limits = s.limits;
  let nobody = 0;
  for (const board of state.boards.values()) nobody += board.info.left.unassigned + board.info.left.nonspawnable;
  if (!sum.ready) return "nothing waits for a start";
  if (s.draining) return "paused: nothing starts";
  if (nobody > 0) return `${nobody.toLocaleString("en")} that nobody here can start`;
  if (limits.max_in_progress !== null && limits.in_progress >= limits.max_in_progress) return "wait for a free place";
  return "about to start";
}

function drawTiles() {
  const s = state.status, sum = {};
  let bad = 0, done = 0, failed = 0, counted = 0, oldest = Infinity;
  for (const root of s.roots) for (const [name, n] of Object.entries(root.tasks || {})) sum[name] = (sum[name] || 0) + n;
  for (const board of state.boards.values()) {
    bad += isBad(board.info) ? 1 : 0;
    if (board.activity) {
      counted++;
      done += board.activity.done.reduce((a, b) => a + b, 0);
      failed += board.activity.failed.reduce((a, b) => a + b, 0);
    }
    for (const task of board.tasks.running || []) oldest = Math.min(oldest, task.started_at || Infinity);
  }
  const max = s.limits.max_in_progress, used = s.limits.in_progress;
  const waiting = s.roots.every((root) => root.role === "standby");
  const running = make("dl", "tile", make("dt", "", "Running"),
    make("dd", "value", used.toLocaleString("en"), max === null ? "" : make("small", "", ` of ${max}`)));
  if (max) {
    const fill = make("span");
    fill.style.width = `${Math.min(100, 100 * used / max)}%`;
    running.append(make("dd", "meter", fill));
  }
  running.append(make("dd", "note", oldest < Infinity ? age(oldest, "", (t) => `the longest for ${t}`) : used ? "" : "nothing runs"));
  const well = s.well ? (waiting ? "Standby" : "All well") : bad ? plural(bad, "board") : "Trouble";
  const health = !s.well ? (bad ? "in trouble" : "see below") : waiting ? "another kanband dispatches"
    : `${plural(state.boards.size, "board")}${s.roots.length > 1 ? `, ${plural(s.roots.length, "root")}` : ""}`;
  const open = [["blocked", sum.blocked], ["review", sum.review], ["todo", sum.todo], ["scheduled", sum.scheduled]].filter(([, n]) => n);
  const part = counted < state.boards.size ? ` on ${plural(counted, "board")}` : "";
  const all = [
    tile("Health", well, health, `health ${s.well ? "ok" : "bad"}`), running,
    tile("Ready", (sum.ready || 0).toLocaleString("en"), readyNote(sum)),
    tile("Waiting", open.reduce((n, [, more]) => n + more, 0).toLocaleString("en"),
      open.map(([name, n]) => `${n.toLocaleString("en")} ${name}`).join(", ") || "nothing"),
    tile("Done in 24 h", done.toLocaleString("en"), `${failed ? `${failed.toLocaleString("en")} failed` : "none failed"}${part}`),
  ];
  $("tiles").replaceChildren(...all);
}

/* What needs somebody: what it is, and what to type. */
function troubles() {
  const list = [];
  for (const root of state.status.roots) {
    const many = state.status.roots.length > 1 ? ` --root ${root.root}` : "";
    if (root.role === "failed") list.push({ bad: true, what: `${root.root}: ${root.holder || "the lease cannot be had"}`, remedy: `kanbanctl${many} doctor` });
    if (root.role === "standby" && !root.leader.held) list.push({ bad: true, what: `${root.root}: nobody has the lease`, remedy: `kanbanctl${many} leader` });
    for (const info of root.boards)
      if (isBad(info)) list.push({
        bad: true, key: keyOf(info), what: `Board ${info.slug} is ${info.state}: ${(info.error || "no reason is recorded").split(";")[0]}`,
        remedy: `kanbanctl${many} check ${info.slug}`,
      });
    if (root.fault) list.push({ bad: true, what: `Nothing can be started on this host: ${root.fault.why}`, remedy: `kanbanctl${many} doctor` });
    if (root.notify && root.notify.parked > 0)
      list.push({ what: `${plural(root.notify.parked, "subscription")} cannot be delivered`, remedy: `kanbanctl${many} notify` });
    if (root.notify && root.notify.error) list.push({ what: `Notifications: ${root.notify.error}`, remedy: `kanbanctl${many} notify` });
  }
  if (state.status.draining) list.push({ what: "Paused by the operator: nothing is started on any board", remedy: "kanbanctl resume" });
  return list;
}

function remedy(command) {
  const button = make("button", "", "Copy");
  button.type = "button";
  button.setAttribute("aria-label", `Copy: ${command}`);
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(command);
      toast("copied");
    } catch (error) {
      toast(command);
    }
  };
  return make("span", "remedy", make("code", "", command), button);
}

function drawTroubles() {
  const list = troubles();
  state.told = new Set(list.slice(0, 12).map((t) => t.key));
  $("troubles").hidden = list.length === 0;
  $("troubles").classList.toggle("mild", !list.some((t) => t.bad));
  const drawn = JSON.stringify(list);
  if ($("troubles").drawn === drawn) return;
  $("troubles").drawn = drawn;
  $("troubles-title").textContent = list.some((t) => t.bad) ? "Needs somebody" : "To know";
  $("troubles-list").replaceChildren(...list.slice(0, 12).map((t) => make("li", "", make("span", "what", t.what), remedy(t.remedy))));
  if (list.length > 12) $("troubles-list").append(make("li", "", `and ${list.length - 12} more; kanbanctl doctor names all`));
}

/* 24 bars, an hour each. */
function spark(activity) {
  const ns = "http://www.w3.org/2000/svg", svg = document.createElementNS(ns, "svg");
  const top = Math.max(1, ...activity.done.map((n, i) => n + activity.failed[i]));
  svg.setAttribute("viewBox", "0 0 240 40");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "spark");
  svg.setAttribute("aria-hidden", "true");
  const bar = (i, y, h, cls) => {
    const rect = document.createElementNS(ns, "rect");
    for (const [k, v] of Object.entries({ x: i * 10 + 1, y, width: 8, height: h, rx: 1.5, class: cls })) rect.setAttribute(k, v);
    svg.append(rect);
  };
  activity.done.forEach((n, i) => {
    const bad = activity.failed[i], hb = 38 * bad / top, hd = 38 * n / top;
    if (n + bad === 0) bar(i, 38, 2, "none");
    if (n > 0) bar(i, 40 - hd, hd, "done");
    if (bad > 0) bar(i, 40 - hd - hb, hb, "failed");
  });
  return svg;
}

function sparkBlock(activity) {
  const sum = (list) => list.reduce((a, b) => a + b, 0);
  const done = sum(activity.done), failed = sum(activity.failed);
  return make("div", "", spark(activity), make("div", "spark-note", make("span", "", "last 24 h"),
    make("span", "", `${done.toLocaleString("en")} done${failed ? `, ${failed.toLocaleString("en")} failed` : ""}`)));
}

function taskButton(board, task, right, sub) {
  const title = make("span", "title", task.title || task.id);
  title.dir = "auto";
  const button = make("button", "task", title, right, sub);
  button.type = "button";
  button.dataset.task = task.id;
  button.onclick = () => openTask(board.info, task.id);
  return button;
}

function heart(task) {
  const at = task.last_heartbeat_at;
  const late = at ? now() - at : 0;
  const dot = make("span", `beat ${!at ? "none" : late > GONE_S ? "gone" : late > STALE_S ? "late" : ""}`);
  dot.setAttribute("aria-hidden", "true");
  return make("span", "sub", dot, task.assignee || "nobody", " · ",
    at ? age(at, "", (t) => `heartbeat ${t} ago`) : "no heartbeat yet",
    task.max_runtime_seconds ? ` · at most ${span(task.max_runtime_seconds)}` : "");
}

function group(cls, title, n, children) {
  return make("section", `group ${cls}`, make("h4", "", title, make("span", "n", n > 0 ? n.toLocaleString("en") : "")), ...children);
}

/* The tasks of a status, grouped by why they wait; the most first. */
function waiting(board, status, limit) {
  const rows = (board.tasks[status] || []).filter(matchesRow), total = count(board.info, status);
  const by = new Map();
  for (const task of rows) {
    const why = because(task);
    if (!by.has(why)) by.set(why, []);
    by.get(why).push(task);
  }
  return [...by].map(([why, tasks]) => {
    const shown = tasks.slice(0, limit).map((task) => taskButton(board, task, age(task.created_at, "age"),
      make("span", "sub", task.assignee || "no assignee", task.priority ? ` · priority ${task.priority}` : "",
        task.last_failure_error ? ` · ${task.last_failure_error}` : "")));
    const rest = by.size === 1 && !state.find ? total - shown.length : tasks.length - shown.length;
    if (rest > 0) shown.push(make("p", "more", `and ${rest.toLocaleString("en")} more`));
    return group(status === "blocked" ? "bad" : "wait", `${status[0].toUpperCase()}${status.slice(1)}: ${why}`, by.size === 1 && !state.find ? total : tasks.length, shown);
  });
}

function running(board) {
  const rows = (board.tasks.running || []).filter(matchesRow), total = count(board.info, "running");
  if (rows.length === 0) return null;
  const shown = rows.slice(0, SHOWN.running).map((task) =>
    taskButton(board, task, age(task.started_at || task.created_at, "age"), heart(task)));
  const rest = state.find ? rows.length - shown.length : total - shown.length;
  if (rest > 0) shown.push(make("p", "more", `and ${rest.toLocaleString("en")} more`));
  return group("run", "Running", state.find ? rows.length : total, shown);
}

function failures(board) {
  const list = (board.activity ? board.activity.failures : []).filter((f) => !state.find || matchesText(f.title) || matchesText(f.id));
  if (list.length === 0) return null;
  return group("bad", "Failed in 24 h", list.length, list.slice(0, SHOWN.failures).map((f) =>
    taskButton(board, f, age(f.ended_at, "age", (t) => `${t} ago`),
      make("span", "sub", `${f.outcome || "?"}${f.error ? `: ${f.error}` : ""}`))));
}

function boardTools(board) {
  if (!state.mayChange || isBad(board.info)) return null;
  const held = board.info.paused && board.info.paused.by === "operator";
  const pause = make("button", "", held ? "Resume" : "Pause");
  pause.type = "button";
  pause.dataset.task = `pause ${board.key}`;
  pause.setAttribute("aria-label", `${held ? "Resume" : "Pause"} board ${board.info.slug}`);
  pause.onclick = () => act(at(board.info, held ? "/resume" : "/pause"), `board ${board.info.slug}: ${held ? "goes on" : "nothing new is started"}`);
  return make("div", "board-tools", pause);
}

function pillClass(info) {
  return isBad(info) ? "bad" : info.state === "paused" ? "wait" : info.state === "healthy" ? "ok" : "";
}

/* What is wrong with a board, as far as it does not stand above already; a command is not torn. */
function errorText(info) {
  const error = info.error || "no reason is recorded", first = error.indexOf("; ");
  const told = state.told.has(keyOf(info)) && first > 0;
  const text = told ? error.slice(first + 2).replace(/; see kanbanctl [^;]*$/, "") : error;
  const command = text.search(/kanbanctl [^;]*$/);
  return command < 0 ? make("p", "why bad", text)
    : make("p", "why bad", text.slice(0, command), make("code", "", text.slice(command)));
}

function boardContent(board) {
  const info = board.info, names = ["triage", "todo", "ready", "running", "review", "blocked", "done"];
  const parts = [make("div", "board-head", make("h3", "", info.slug), make("span", `pill ${pillClass(info)}`, info.state), boardTools(board))];
  if (state.status.roots.length > 1) parts.push(make("p", "board-root", info.root));
  if (isBad(info)) parts.push(errorText(info));
  if (info.tasks) {
    const counts = names.filter((name) => count(info, name) > 0)
      .map((name) => make("span", "", make("b", "", count(info, name).toLocaleString("en")), ` ${name}`));
    parts.push(make("p", "counts", ...(counts.length ? counts : ["no tasks"])));
  }
  if (board.activity) parts.push(sparkBlock(board.activity));
  parts.push(running(board), ...waiting(board, "ready", SHOWN.ready), ...waiting(board, "review", SHOWN.review),
    ...waiting(board, "blocked", SHOWN.blocked), failures(board));
  return parts.filter((part) => part !== null);
}

function drawBoard(board) {
  if (!board.node) return;
  const drawn = JSON.stringify([board.info, state.told.has(board.key), board.tasks, board.activity, state.find, state.mayChange, state.status.draining, state.status.limits]);
  if (board.drawn === drawn) return;
  board.drawn = drawn;
  const focus = board.node.contains(document.activeElement) ? document.activeElement.dataset.task : null;
  board.node.classList.toggle("bad", isBad(board.info));
  board.node.replaceChildren(...boardContent(board));
  if (focus) {
    const again = [...board.node.querySelectorAll("[data-task]")].find((node) => node.dataset.task === focus);
    if (again) again.focus();
  }
}

function drawBoards() {
  const shown = [], quiet = [];
  for (const board of state.boards.values()) {
    if (!matchesBoard(board) && !matchesTask(board)) {
      if (board.node) { board.node.remove(); onScreen.unobserve(board.node); board.node = null; }
      continue;
    }
    (isQuiet(board) ? quiet : shown).push(board);
  }
  shown.sort((a, b) => rank(a) - rank(b) || a.info.slug.localeCompare(b.info.slug));
  for (const board of quiet)
    if (board.node) { onScreen.unobserve(board.node); board.node.remove(); board.node = null; }
  shown.forEach((board, i) => {
    if (!board.node) {
      board.node = make("article", "board");
      board.node.dataset.key = board.key;
      board.node.setAttribute("aria-label", `board ${board.info.slug}`);
      board.drawn = "";
      onScreen.observe(board.node);
    }
    drawBoard(board);
    if ($("boards").children[i] !== board.node) $("boards").insertBefore(board.node, $("boards").children[i] || null);
    if (board.seen && board.dirty) fetchBoard(board);
  });
  drawQuiet(quiet);
  $("empty").hidden = shown.length + quiet.length > 0;
  $("empty").textContent = state.find ? `nothing here matches “${state.find}”`
    : state.status.roots.every((root) => root.role === "standby") ? "Another kanband dispatches these boards; this one takes over when it ends."
      : "There is no board yet. kanbanctl init makes one.";
}

function drawQuiet(quiet) {
  const drawn = JSON.stringify(quiet.map((board) => [board.key, board.info.state, count(board.info, "todo"), count(board.info, "done")]));
  $("quiet").hidden = quiet.length === 0;
  if ($("quiet").drawn === drawn) return;
  $("quiet").drawn = drawn;
  $("quiet-title").textContent = plural(quiet.length, "quiet board");
  $("quiet-list").replaceChildren(...quiet.map((board) => {
    const info = board.info, n = count(info, "todo");
    const button = make("button", "", info.slug, make("span", "", info.state !== "healthy" ? info.state : n ? `${n} todo` : `${count(info, "done")} done`));
    button.type = "button";
    button.onclick = () => { state.pinned.add(board.key); drawBoards(); board.node.scrollIntoView({ block: "nearest" }); };
    return make("li", "", button);
  }));
}

function draw() {
  const s = state.status;
  document.title = s.well ? "kanband" : "● kanband";
  // isolated: where it is cut, it is at its beginning, see .where
  $("where").replaceChildren(make("bdi", "", [s.host, ...s.roots.map((root) => (root.role === "owner" ? root.root : `${root.root} (${root.role})`))].join(" · ")));
  $("where").title = s.sentence;
  for (const node of document.querySelectorAll(".may-change")) node.hidden = !state.mayChange;
  $("drain").textContent = s.draining ? "Resume" : "Drain";
  $("foot").replaceChildren(`kanband ${s.version}, pid ${s.pid}, `, age(s.now - s.uptime_s, "", (t) => `up ${t}`),
    `, ${(s.rss_bytes / 1048576).toFixed(1)} MiB`,
    state.mayChange ? "" : " · read-only: ask as root or as the daemon's account to change things");
  drawTiles();
  drawTroubles();
  drawBoards();
}

/* ---- one task ------------------------------------------------------------------------------ */

function fact(list, name, value) {
  if (value !== null && value !== undefined && value !== "") list.append(make("dt", "", name), make("dd", "", value));
}

function linkList(title, links) {
  if (links.length === 0) return null;
  return make("section", "group", make("h3", "", title), ...links.map((l) =>
    make("div", "", make("span", "pill", l.status || "?"), " ", l.title || l.id)));
}

function runList(runs) {
  if (runs.length === 0) return null;
  return make("section", "group", make("h3", "", "Runs"), make("ul", "runs", ...runs.slice(-8).reverse().map((run) =>
    make("li", "", make("span", "mono", `run ${run.id}`), make("span", "", run.outcome || run.status || "?",
      run.ended_at ? ` after ${span(run.ended_at - run.started_at)}` : ""), make("span", "", when(run.started_at)),
    run.error || run.summary ? make("span", "err", run.error || run.summary) : null))));
}

/* The sentence that answers "why does it not run", with the parents that are not done. */
function whyBlock(task, detail, info) {
  if (task.status === "running")
    return make("p", "why run", "has run for ", age(task.started_at || task.created_at, ""), task.last_heartbeat_at ? ", heartbeat " : "",
      task.last_heartbeat_at ? age(task.last_heartbeat_at, "", (t) => `${t} ago`) : "");
  if (task.status === "done" || task.status === "archived") return null;
  const open = detail.parents.filter((p) => p.status !== "done" && p.status !== "archived");
  const text = task.status === "todo" && open.length > 0
    ? `waits for ${open.map((p) => `“${p.title || p.id}” (${p.status || "gone"})`).join(", ")}`
    : because(task) + (task.held?.release ? `, until ${task.held.release.replace(/ TASK\b/, ` ${task.id}`)}` : "");
  return text ? make("p", `why ${task.status === "blocked" ? "bad" : ""}`, text) : null;
}

async function openTask(info, id) {
  const where = `board=${encodeURIComponent(info.slug)}&root=${encodeURIComponent(info.root)}`;
  const path = `v1/tasks/${encodeURIComponent(id)}`;
  try {
    const detail = await ask(`${path}?${where}`), task = detail.task, facts = make("dl", "facts");
    fact(facts, "Task", make("code", "", task.id));
    fact(facts, "Board", info.slug);
    fact(facts, "State", task.status);
    fact(facts, "Assignee", task.assignee);
    fact(facts, "Priority", task.priority ? String(task.priority) : "");
    fact(facts, "Created", `${when(task.created_at)}${task.created_by ? ` by ${task.created_by}` : ""}`);
    fact(facts, "Workspace", task.workspace_path || task.workspace_kind);
    fact(facts, "Failures", task.consecutive_failures ? `${task.consecutive_failures} in a row` : "");
    fact(facts, "Last failure", task.last_failure_error);
    $("task-title").textContent = task.title || task.id;
    $("task-title").dir = "auto";
    const log = make("pre", "log", "…");
    log.tabIndex = 0;
    log.setAttribute("aria-label", "end of the worker's log");
    const waits = task.status === "ready" || task.status === "review";
    const rules = waits ? await ask(`${path}/why?${where}`).then((why) => why.rules, () => []) : [];
    const parts = [whyBlock({ ...task, held: rules.find((rule) => rule.holds) }, detail, info), facts,
      task.body ? make("section", "group", make("h3", "", "Text"), make("p", "text", task.body)) : null,
      task.result ? make("section", "group", make("h3", "", "Result"), make("p", "text", task.result)) : null,
      linkList("Depends on", detail.parents), linkList("Needed by", detail.children), runList(detail.runs),
      make("section", "group", make("h3", "", "End of the log"), log), remedy(`kanbanctl --board ${info.slug} show ${task.id}`)];
    $("task-body").replaceChildren(...parts.filter((part) => part));
    if (!$("task").open) $("task").showModal();
    $("task-title").focus();
    const end = await ask(`${path}/log?${where}`);
    log.textContent = end.there ? end.text || "(empty)" : "no worker has written one yet";
    log.scrollTop = log.scrollHeight;
  } catch (error) {
    toast(error.message);
  }
}

/* ---- the rest ------------------------------------------------------------------------------ */

const THEMES = { "": ["◐", "as the system"], light: ["☀", "light"], dark: ["☾", "dark"] };
function theme(name) {
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
  $("theme").textContent = THEMES[name][0];
  $("theme").setAttribute("aria-label", `Colours: ${THEMES[name][1]}`);
  try { localStorage.setItem("kanband-theme", name); } catch (error) { /* not remembered then */ }
}

$("theme").onclick = () => {
  const names = Object.keys(THEMES);
  theme(names[(names.indexOf(document.documentElement.dataset.theme || "") + 1) % names.length]);
};
$("find").oninput = () => {
  state.find = fold($("find").value.trim());
  for (const board of state.boards.values()) board.dirty = true;
  if (state.status) drawBoards();
};
$("sweep").onclick = () => act("v1/tick", "every board is looked at");
$("drain").onclick = () => {
  if (state.status.draining) act("v1/resume", "tasks are started again");
  else if (confirm("Start no new workers on any board, until you resume? What runs goes on.")) drain();
};
async function drain() {
  try {
    await ask("v1/drain", "POST", { wait: false });
    toast("drained: nothing new is started");
  } catch (error) {
    toast(error.message);
  }
  refresh();
}
$("task").onclick = (event) => { if (event.target === $("task")) $("task").close(); };
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !$("task").open && !/INPUT|TEXTAREA/.test(document.activeElement.tagName)) {
    event.preventDefault();
    $("find").focus();
  } else if (event.key === "Escape" && document.activeElement === $("find")) {
    $("find").value = "";
    $("find").oninput();
  }
});
setInterval(() => {
  if (document.hidden) return;
  for (const node of document.querySelectorAll("[data-at]")) {
    const text = node.say(span(now() - node.dataset.at));
    if (node.textContent !== text) node.textContent = text;
  }
}, 1000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });

let kept = "";
try { kept = localStorage.getItem("kanband-theme") || ""; } catch (error) { /* as the system then */ }
theme(kept in THEMES ? kept : "");
listen();
look();
