import { assert, assertEquals } from "../tests/assert.ts";
import { staticReach } from "../tests/module_reach.ts";
import { configJsonSchema, readConfigText, SETTING_KEYS } from "../config/file/mod.ts";
import { main } from "./main.ts";
import { RUN_FLAGS } from "./run_flags.ts";

const EXAMPLES = new URL("../docs/examples/", import.meta.url);

/** Exit code and lines of a command. */
async function run(...args: string[]): Promise<{ code: number; out: string[]; err: string[] }> {
  const out: string[] = [], err: string[] = [];
  const { log, error } = console;
  console.log = (text: string) => void out.push(...text.split("\n"));
  console.error = (text: string) => void err.push(...text.split("\n"));
  try {
    return { code: await main(args), out, err };
  } finally {
    Object.assign(console, { log, error });
  }
}

async function runOn(text: string, ...words: string[]) {
  const file = await Deno.makeTempFile({ suffix: ".toml" });
  try {
    await Deno.writeTextFile(file, text);
    await Deno.chmod(file, 0o600);
    const { code, out, err } = await run(...words, file);
    return { code, out, err: err.map((line) => line.replace(file, "FILE")) };
  } finally {
    await Deno.remove(file);
  }
}

Deno.test("config check: every example is right, and says what it means", async () => {
  let count = 0;
  for (const { name } of Deno.readDirSync(EXAMPLES)) {
    if (!name.endsWith(".toml")) continue;
    const file = new URL(name, EXAMPLES).pathname;
    const { code, out, err } = await run("config", "check", file);
    assertEquals([code, err, out[0]], [0, [], `${file}: ok`], name);
    assert(out.some((line) => /^ {2}takes .*(arrives|sends|pod)/.test(line)), out.join("\n"));
    count++;
  }
  assertEquals(count, 5);
});

Deno.test("config check: all problems, in the order of the lines, and exit code 2", async () => {
  const { code, out, err } = await runOn(
    `mode = "gateway"
[intercept]
from = ["eth1", "lo"]
[tcp]
idle-timeuot = 5
[group.any]
kind = "failover"
members = ["offic"]
[upstream.office]
kind = "socks5"
server = "192.0.2.10:0"
[upstream.wan]
kind = "direct"
mark = 0x01000040
[udp]
timeout = "30s"
[policy]
default = "ofice"
`,
    "config",
    "check",
  );
  assertEquals([code, out], [2, []]);
  assertEquals(err.map((line) => line.replace(/ found, .*/, "")), [
    "pellucid config check: FILE:3:8: intercept.from: lo",
    "pellucid config check: FILE:5:1: tcp.idle-timeuot: an unknown key",
    'pellucid config check: FILE:8:11: group.any.members: "offic"',
    'pellucid config check: FILE:11:10: upstream.office.server: "192.0.2.10:0"',
    "pellucid config check: FILE:14:8: upstream.wan.mark: 0x1000040, with 0x1000000 of ours",
    "pellucid config check: FILE:16:11: udp.timeout: 30",
    'pellucid config check: FILE:18:11: policy.default: "ofice"',
    "`pellucid config check --help` shows what can be said.",
  ]);
});

Deno.test("config check: no secret is printed, right or wrong", async () => {
  const secret = "hunter2-and-more";
  const upstream = `[upstream.a]\nkind = "http"\nserver = "192.0.2.1:1"\nusername = "me"\n`;
  for (const line of [`password = "${secret}"`, `password = "${secret}\\u0000"`, `pass = "${secret}"`]) {
    const { out, err } = await runOn(
      `mode = "host"\n[udp]\nmode = "off"\n${upstream}${line}`,
      "config",
      "check",
    );
    assert(out.length + err.length > 0);
    assert(![...out, ...err].join().includes(secret), [...out, ...err].join("\n"));
  }
});

Deno.test("config check: what files are not here is a warning", async () => {
  const { code, err } = await runOn(
    'mode = "host"\n[intercept]\nexclude-cidr-file = "/nonexistent/a"\n[[rule]]\nsource-file = "/nonexistent/b"\nuse = "direct"',
    "config",
    "check",
  );
  assertEquals(code, 0);
  assertEquals(err.map((line) => /nonexistent\/\w/.exec(line)?.[0]), ["nonexistent/a", "nonexistent/b"]);
});

Deno.test("config check: what is wrong with the files that are here is named, line by line, and no secret is", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/list`, "192.0.2.0/24\nnonsense\n192.0.2.0/33\n");
    await Deno.writeTextFile(`${folder}/secret`, "hunter2\u0001\n");
    const { code, err } = await runOn(
      `mode = "host"
[udp]
mode = "off"
[intercept]
exclude-cidr-file = "${folder}"
[[rule]]
destination-file = "${folder}/list"
use = "block"
[[rule]]
source-file = "${folder}/list"
use = "block"
[upstream.a]
kind = "http"
server = "192.0.2.1:1"
username = "me"
password-file = "${folder}/secret"
`,
      "config",
      "check",
    );
    assertEquals(code, 2);
    assertEquals(err.slice(0, -1).map((line) => line.replaceAll(folder, "").replace(/ wanted$/, "")), [
      "pellucid config check: FILE:5:21: intercept.exclude-cidr-file: : no regular file found, a regular file of at most 64 MiB",
      'pellucid config check: FILE:7:20: rule[1].destination-file: /list:2: "nonsense" found, a prefix or an address',
      'pellucid config check: FILE:7:20: rule[1].destination-file: /list:3: "192.0.2.0/33" found, a prefix or an address',
      "pellucid config check: FILE:16:17: upstream.a.password-file: a control character in /secret found, none",
    ]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("config check: one file, no more and no fewer", async () => {
  assertEquals((await run("config", "check")).code, 2);
  assertEquals((await run("config", "check", "a", "b")).code, 2);
  assertEquals((await run("config", "check", "/nonexistent/a.toml")).code, 2);
  // Which has no end.
  assertEquals((await run("config", "check", "/dev/zero")).code, 2);
});

Deno.test("config schema: the published one is current", async () => {
  const { code, out } = await run("config", "schema");
  const schema = JSON.parse(out.join("\n"));
  assertEquals([code, schema], [0, configJsonSchema()]);
  const published = await Deno.readTextFile(new URL("../docs/config.schema.json", import.meta.url));
  assertEquals(JSON.parse(published), schema, "deno run -A mod.ts config schema >docs/config.schema.json");
});

interface Schema {
  readonly oneOf?: readonly Schema[];
  readonly items?: Schema;
  readonly additionalProperties?: Schema | false;
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly description?: string;
  readonly default?: unknown;
}

Deno.test("config schema: each key is described, and its default is what the flag's is", () => {
  const root = configJsonSchema() as Schema;
  let defaults = 0;
  for (const [flag, key] of Object.entries(SETTING_KEYS)) {
    let schema: Schema | undefined = root;
    for (const part of key.split(".")) schema = schema?.properties?.[part];
    assert((schema?.description ?? "").length > 10, key);
    if (schema?.default === undefined) continue;
    defaults++;
    const [table, name] = key.includes(".") ? key.split(".") : [undefined, key];
    const text = `${table === undefined ? "" : `[${table}]\n`}${name} = ${JSON.stringify(schema.default)}`;
    const { settings, issues } = readConfigText(text, "a.toml");
    const { fallback, fallbackText } = RUN_FLAGS[flag as keyof typeof RUN_FLAGS];
    const value = settings[flag as keyof typeof SETTING_KEYS];
    assertEquals(issues, [], key);
    // A sidecar's flags have no default where there is none, and say in the help what it would be.
    if (fallback === undefined) assertEquals(String(value), fallbackText, key);
    else assertEquals(value, fallback, key);
  }
  assert(defaults > 15, `${defaults}`);
});

/** Keys of a table that are no tables, with what they are for and their defaults, as the reference has them. */
function rowsOf(schema: Schema): string[] {
  const isTable = ({ properties, additionalProperties, items }: Schema) =>
    properties !== undefined || additionalProperties !== undefined || items !== undefined;
  return Object.entries(schema.properties ?? {}).flatMap(([key, field]) => {
    if (key === "$schema" || key === "kind" || isTable(field)) return [];
    return `${key}: ${field.description} ${field.default === undefined ? "" : JSON.stringify(field.default)}`;
  });
}

Deno.test("docs/configuration.md: its tables are the schema's", async () => {
  const page = await Deno.readTextFile(new URL("../docs/configuration.md", import.meta.url));
  const sections = new Map(
    page.split(/^#{2,3} /m).slice(1).map((section) => {
      const [heading, ...lines] = section.split("\n");
      const rows = lines.filter((line) => /^\| `/.test(line)).map((line) =>
        line.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim().replaceAll("\\", ""))
      ).filter(([key]) => !key!.startsWith("`kind`"));
      return [
        heading!,
        rows.map(([key, , what, fallback]) =>
          `${/^`(.*?)`/.exec(key!)![1]}: ${what} ${fallback!.replaceAll("`", "")}`
        ),
      ];
    }),
  );
  const root = configJsonSchema() as Schema;
  const tables = new Map<string, Schema>([["At the top", root]]);
  const { upstream, group, rule, ...others } = root.properties!;
  for (const [name, schema] of Object.entries(others)) {
    if (schema.properties !== undefined) tables.set(`[${name}]`, schema);
  }
  const inTable = ({ additionalProperties }: Schema) => additionalProperties as Schema;
  for (const kind of inTable(upstream!).oneOf!) tables.set(`kind = "${kind.properties!.kind!.const}"`, kind);
  tables.set("[group.NAME]", inTable(group!));
  tables.set("[group.NAME.check]", inTable(group!).properties!.check!);
  tables.set("[[rule]]", rule!.items!);
  assert(tables.size > 17, [...tables.keys()].join());
  for (const [heading, schema] of tables) assertEquals(sections.get(heading), rowsOf(schema), heading);
});

Deno.test("examples: each names the schema for editors", async () => {
  for (const { name } of Deno.readDirSync(EXAMPLES)) {
    if (!name.endsWith(".toml")) continue;
    const text = await Deno.readTextFile(new URL(name, EXAMPLES));
    assert(text.startsWith("#:schema ../config.schema.json\n"), name);
  }
});

Deno.test("the code that reads configuration files is loaded by who has one", async () => {
  const isParser = (specifier: string) => /\/(zod|toml-eslint-parser)[@/]|\/config\/file\//.test(specifier);
  for (const entry of ["./main.ts", "./run.ts", "./rules.ts", "../mod.ts", "../dataplane/main.ts"]) {
    const reached = await staticReach(new URL(entry, import.meta.url));
    assert(reached.size > 20, `${entry}: ${reached.size}`);
    assertEquals([...reached].filter(isParser), [], entry);
  }
  const reached = await staticReach(new URL("../config/file/mod.ts", import.meta.url));
  assert([...reached].filter(isParser).length > 5, [...reached].join("\n"));
});
