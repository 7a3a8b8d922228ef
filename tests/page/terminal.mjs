// A program in a terminal of tmux, and the picture of it: what tmux shows, as HTML for the browser.
import { execFileSync } from "node:child_process";

// Colours of a usual dark terminal, and of a usual light one.
const THEMES = {
  dark: { ground: "#11151c", text: "#d5dae3", colours: ["#11151c", "#f07178", "#7fd1a0", "#e6b35a", "#7aa8ff", "#c792ea", "#66cfd6", "#d5dae3",
    "#6b7485", "#ff8b92", "#9be8b8", "#ffcf7a", "#9dc0ff", "#ddb0ff", "#8fe6ec", "#ffffff"] },
  light: { ground: "#ffffff", text: "#1f2430", colours: ["#1f2430", "#b3261e", "#1a7f4b", "#8a5a00", "#2a5fc9", "#8a35b5", "#0b7a83", "#5c6370",
    "#7a8190", "#b3261e", "#1a7f4b", "#8a5a00", "#2a5fc9", "#8a35b5", "#0b7a83", "#1f2430"] },
};

export class Terminal {
  constructor(world, columns, rows, words) {
    this.socket = `${world.dir}/tmux-${columns}x${rows}`; // a server that ends is not met again
    this.env = { ...world.env, TERM: "xterm-256color" };
    this.columns = columns;
    this.rows = rows;
    this.tmux("-f", "/dev/null", "new-session", "-d", "-x", String(columns), "-y", String(rows),
      ...words, ";", "set", "status", "off", ";", "set", "remain-on-exit", "on");
    this.tmux("resize-window", "-x", String(columns), "-y", String(rows));
  }

  tmux(...args) { return execFileSync("tmux", ["-S", this.socket, ...args], { env: this.env, encoding: "utf8" }); }
  keys(...keys) { this.tmux("send-keys", ...keys); }
  text() { return this.tmux("capture-pane", "-p"); }
  end() { this.tmux("kill-server"); }

  // What is on the screen, as a page.
  html(theme) {
    const { ground, text, colours } = THEMES[theme];
    const lines = this.tmux("capture-pane", "-p", "-e").replace(/\n$/, "").split("\n");
    while (lines.length < this.rows) lines.push("");
    return `<!doctype html><meta charset="utf-8"><style>html { background: ${ground}; color: ${text}; }
      body { margin: 14px 16px; font: 15px/1.3 "DejaVu Sans Mono", monospace; } pre { margin: 0; font: inherit; width: ${this.columns}ch; }</style><pre>${
      lines.map((line) => ansi(line, ground, text, colours)).join("\n")}</pre>`;
  }
}

const escape = (s) => s.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

// One line with SGR sequences as spans; a line begins with none in force.
function ansi(line, ground, text, colours) {
  let out = "", s = {};
  for (const part of line.split(/(\x1b\[[0-9;]*m|\x1b\([A-Z]|[\x0e\x0f])/)) {
    const sgr = /^\x1b\[([0-9;]*)m$/.exec(part);
    if (!sgr) {
      if (!part || /^[\x1b\x0e\x0f]/.test(part)) continue;
      let [fg, bg] = [s.fg ?? text, s.bg];
      if (s.reverse) [fg, bg] = [bg ?? ground, fg];
      out += `<span style="color:${fg};${bg ? `background:${bg};` : ""}${s.bold ? "font-weight:600;" : ""}${s.dim ? "opacity:.6;" : ""}">${escape(part)}</span>`;
      continue;
    }
    const codes = sgr[1].split(";").map(Number);
    for (let i = 0; i < codes.length; i++) {
      const c = codes[i];
      if (c === 0) s = {};
      else if (c === 1) s.bold = true;
      else if (c === 2) s.dim = true;
      else if (c === 7) s.reverse = true;
      else if (c === 22) s.bold = s.dim = false;
      else if (c === 27) s.reverse = false;
      else if (c === 39) s.fg = undefined;
      else if (c === 49) s.bg = undefined;
      else if (c >= 30 && c < 38) s.fg = colours[c - 30];
      else if (c >= 40 && c < 48) s.bg = colours[c - 40];
      else if (c >= 90 && c < 98) s.fg = colours[c - 82];
      else if (c >= 100 && c < 108) s.bg = colours[c - 92];
      else if ((c === 38 || c === 48) && codes[i + 1] === 5) { s[c === 38 ? "fg" : "bg"] = colours[codes[i + 2]] ?? text; i += 2; }
    }
  }
  return out;
}
