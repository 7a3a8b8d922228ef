// The dashboard against Grafana's own types (@grafana/schema), by the TypeScript compiler: a key that
// Grafana does not know, a value of another type or another word fails. The options and fields of each
// panel are those of its kind.
//
//   node check.mjs NODE_MODULES DASHBOARD.json
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const [modules, file] = process.argv.slice(2);
const ts = createRequire(path.resolve(modules, "x.js"))("typescript");
const version = JSON.parse(readFileSync(path.join(modules, "@grafana/schema/package.json"), "utf8")).version;

// As JSON has it: an enumeration's values are its words, and what Grafana has a default for may lack.
const types = `
import type { Dashboard, Panel } from "@grafana/schema";
import type * as prometheus from "./query";
type Plain<T> = T extends string ? \`\${T}\` : T extends (infer U)[] ? Plain<U>[]
	: T extends object ? { [K in keyof T]?: Plain<T[K]> } : T;
type Some<T> = { [K in keyof T as string extends K ? never : K]?: T[K] };
`;

// What Grafana's schema leaves open is what the Prometheus data source reads of a query.
const query = `
export interface Query { refId: string; expr: string; legendFormat?: string; format?: "time_series" | "table" | "heatmap";
	instant?: boolean; range?: boolean; interval?: string; exemplar?: boolean; hide?: boolean;
	datasource: { type: "prometheus"; uid: string } }
`;

const modulesOf = { stat: "stat", timeseries: "timeseries", table: "table" };

// An override says one field of a panel by its path: {"id": "custom.a.b", "value": v} is {a: {b: v}}.
function customOf(properties) {
	const custom = {};
	for (const { id, value } of properties ?? []) {
		if (!id.startsWith("custom.")) continue;
		const keys = id.slice("custom.".length).split(".");
		let at = custom;
		for (const key of keys.slice(0, -1)) at = at[key] ??= {};
		at[keys.at(-1)] = value;
	}
	return custom;
}

function source(dashboard) {
	const lines = [types];
	const put = (type, value) => lines.push(`export const v${lines.length}: ${type} = ${JSON.stringify(value)};`);
	for (const kind of Object.values(modulesOf))
		lines.push(`import type * as ${kind} from "@grafana/schema/dist/types/raw/composable/${kind}/panelcfg/x/types.gen";`);
	const { panels, ...rest } = dashboard;
	put("Plain<Some<Dashboard>>", rest);
	for (const panel of panels) {
		const { options, fieldConfig, targets, ...frame } = panel;
		const { custom = {}, ...defaults } = fieldConfig.defaults;
		put("Plain<Omit<Panel, 'options' | 'fieldConfig' | 'targets'>>", frame);
		put("Plain<Panel['fieldConfig']>", { ...fieldConfig, defaults });
		for (const target of targets) put("prometheus.Query", target);
		const kind = modulesOf[panel.type];
		if (!kind) throw new Error(`panel ${panel.title}: the kind ${panel.type} is not checked here`);
		const own = kind === "stat" ? "{}" : `Plain<Some<${kind}.FieldConfig>>`;
		put(`Plain<Some<${kind}.Options>>`, options);
		for (const fields of [custom, ...fieldConfig.overrides.map((o) => customOf(o.properties))])
			if (Object.keys(fields).length) put(own, fields);
	}
	return lines.join("\n");
}

// What the compiler says about it.
function complaints(dashboard) {
	const at = path.resolve(modules, "..", "dashboard.ts");
	const texts = new Map([[at, source(dashboard)], [path.resolve(modules, "..", "query.ts"), query]]);
	const options = {
		strict: true, noEmit: true, skipLibCheck: true, types: [],
		target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext,
		moduleResolution: ts.ModuleResolutionKind.Bundler,
		paths: { "@grafana/schema/dist/types/*": [path.resolve(modules, "@grafana/schema/dist/types/*")] },
	};
	const host = ts.createCompilerHost(options);
	const { getSourceFile, fileExists, readFile } = host;
	host.fileExists = (name) => texts.has(name) || fileExists(name);
	host.readFile = (name) => texts.get(name) ?? readFile(name);
	host.getSourceFile = (name, ...args) => texts.has(name)
		? ts.createSourceFile(name, texts.get(name), ts.ScriptTarget.ES2022) : getSourceFile(name, ...args);
	const program = ts.createProgram([at], options, host);
	return ts.getPreEmitDiagnostics(program).map((d) => ts.flattenDiagnosticMessageText(d.messageText, "\n"));
}

const text = readFileSync(file, "utf8");
let failed = false;
function is(what, good, said) {
	console.log(`${good ? "ok" : "not ok"} - ${what}`);
	if (!good) console.log(said);
	failed ||= !good;
}

const said = complaints(JSON.parse(text));
is(`the dashboard is as @grafana/schema ${version} has it`, said.length === 0, said.join("\n\n"));

// Would it be seen: one mistake in each part.
const mistakes = {
	"a key of the dashboard": (d) => { d.refesh = "30s"; },
	"a value of the dashboard": (d) => { d.graphTooltip = "yes"; },
	"a word of a variable": (d) => { d.templating.list[0].type = "sauce"; },
	"a panel's place": (d) => { d.panels[0].gridPos.x = "4"; },
	"a panel's option": (d) => { d.panels.find((p) => p.type === "stat").options.colourMode = "value"; },
	"a word of an option": (d) => { d.panels.find((p) => p.type === "timeseries").options.tooltip.mode = "many"; },
	"a field of a kind": (d) => { d.panels.find((p) => p.type === "timeseries").fieldConfig.defaults.custom.lineWide = 1; },
	"an override": (d) => { d.panels.find((p) => p.type === "table").fieldConfig.overrides.push(
		{ matcher: { id: "byName", options: "Time" }, properties: [{ id: "custom.hidden", value: true }] }); },
	"a threshold": (d) => { d.panels.find((p) => p.type === "stat").fieldConfig.defaults.thresholds.mode = "relative"; },
	"a query": (d) => { d.panels[0].targets[0].expression = "up"; },
};
for (const [what, plant] of Object.entries(mistakes)) {
	const broken = JSON.parse(text);
	plant(broken);
	is(`a mistake in ${what} is seen`, complaints(broken).length > 0, "no complaint");
}
process.exit(failed ? 1 : 0);
