/**
 * The configuration file under fast-check: any text, the examples with bytes changed, and tables of any values under
 * our own keys. What must hold: nothing throws; every problem has a place in the file; what is read and what the
 * checks say of it goes together without a throw; a secret is in no problem.
 *
 * @module
 */
import fc from "fast-check";
import { checkRun, RUN_FLAGS, runConfig } from "../../cli/run_flags.ts";
import { parseFlags } from "../../cli/parse_flags.ts";
import { describeConfig } from "../../cli/config_summary.ts";
import { type ConfigIssue, formatIssue } from "../../config/mod.ts";
import { configJsonSchema, readConfigText } from "../../config/file/mod.ts";
import { assert, assertLessOrEqual } from "../assert.ts";

const EXAMPLES = new URL("../../docs/examples/", import.meta.url);
const examples = [...Deno.readDirSync(EXAMPLES)].filter(({ name }) => name.endsWith(".toml"))
  .map(({ name }) => Deno.readTextFileSync(new URL(name, EXAMPLES)));

const DEFAULTS = parseFlags(RUN_FLAGS, []).values;

/** Reads `text` as the command line does, and holds what came of it against what must hold. */
function judge(text: string): void {
  const read = readConfigText(text, "a.toml");
  const values = { ...DEFAULTS, ...read.settings, routing: read.routing };
  const found = read.inItsWords(checkRun(values), new Set());
  describeConfig(runConfig(values));
  const lines = text.split("\n");
  for (const issue of [...read.issues, ...found]) assertPlaced(issue, lines);
  for (const issue of read.issues) {
    assert(issue.found !== "" && issue.wanted !== "" && issue.path !== "", formatIssue(issue));
    assertLessOrEqual(issue.found.length, 500);
  }
}

function assertPlaced(issue: ConfigIssue, lines: readonly string[]): void {
  const text = formatIssue(issue);
  assert(issue.place !== undefined, text);
  const { line, column } = issue.place;
  assert(line >= 1 && line <= lines.length, text);
  // Behind the last character is where something is missing.
  assert(column >= 1 && column <= lines[line - 1]!.length + 1, text);
  assert(!/\bat .*\.ts:\d+/.test(text), text);
}

Deno.test("config file: any text", () => {
  const scrap = fc.constantFrom(
    "[",
    "]",
    "[[",
    "{",
    "}",
    "=",
    '"',
    "'''",
    '"""',
    ",",
    ".",
    "#",
    "\n",
    "\r\n",
    "a",
    "rule",
    "upstream",
    "1",
    "-",
    "\\u",
    "__proto__",
    "é",
    "\u0000",
    "\ud800",
    "1979-05-27",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ maxLength: 200 }),
        fc.array(scrap, { maxLength: 60 }).map((parts) => parts.join("")),
      ),
      judge,
    ),
    { numRuns: 2_000 },
  );
});

Deno.test("config file: examples with something cut out, put in, moved or repeated", () => {
  const scrap = fc.oneof(
    fc.constantFrom(
      "",
      "\n",
      '"',
      "'",
      "[",
      "]",
      "=",
      "#",
      "{",
      "}",
      ",",
      "0",
      "x",
      "[[rule]]\n",
      "[tcp]\n",
      "[rule]\n",
      "upstream = 1\n",
      "\\",
    ),
    fc.string({ maxLength: 6 }),
  );
  const change = fc.record({ at: fc.nat(5_000), length: fc.nat(40), scrap });
  fc.assert(
    fc.property(
      fc.constantFrom(...examples),
      fc.array(change, { minLength: 1, maxLength: 4 }),
      (text, changes) => {
        for (const { at, length, scrap } of changes) {
          const from = at % (text.length + 1);
          text = text.slice(0, from) + scrap + text.slice(from + length);
        }
        judge(text);
      },
    ),
    { numRuns: 1_000 },
  );
});

Deno.test("config file: examples with lines in another order, gone or twice", () => {
  fc.assert(
    fc.property(fc.constantFrom(...examples), fc.array(fc.nat(200), { maxLength: 80 }), (text, picks) => {
      const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
      judge(picks.map((i) => lines[i % lines.length]!).join("\n"));
    }),
    { numRuns: 1_000 },
  );
});

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | false;
  readonly items?: Schema;
  readonly oneOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
}

/** Every key that stands anywhere in the schema. */
function keysOf(schema: Schema): string[] {
  const below = [
    ...Object.values(schema.properties ?? {}),
    ...(schema.additionalProperties ? [schema.additionalProperties] : []),
    ...(schema.items === undefined ? [] : [schema.items]),
    ...schema.oneOf ?? [],
    ...schema.anyOf ?? [],
  ];
  return [...new Set([...Object.keys(schema.properties ?? {}), ...below.flatMap(keysOf)])];
}

const SECRET = "hunter2-0451";

Deno.test("config file: our keys anywhere with values of any kind, and no secret in what is said", () => {
  const key = fc.constantFrom(...keysOf(configJsonSchema() as Schema), "any", "other");
  const leaf = fc.oneof(
    fc.constantFrom(
      "socks5",
      "http",
      "chain",
      "direct",
      "failover",
      "tcp",
      "udp",
      "off",
      "192.0.2.1:80",
      "10.0.0.0/8",
      "any",
      "30s",
      "host",
      "eth1",
    ),
    fc.string({ maxLength: 8 }),
    fc.double(),
    fc.integer(),
    fc.boolean(),
  ).map((value) =>
    typeof value === "number" ? tomlNumber(value) : JSON.stringify(value).replaceAll("\u007f", "?")
  );
  const { value } = fc.letrec<{ value: string; list: string; table: string }>((tie) => ({
    value: fc.oneof({ depthSize: "small", withCrossShrink: true }, leaf, tie("list"), tie("table")),
    list: fc.array(tie("value"), { maxLength: 3 }).map((values) => `[${values.join(", ")}]`),
    table: fc.uniqueArray(fc.tuple(key, tie("value")), { maxLength: 4, selector: ([key]) => key })
      .map((entries) => `{ ${entries.map(([key, value]) => `"${key}" = ${value}`).join(", ")} }`),
  }));
  const header = fc.constantFrom(
    "[intercept]",
    "[tcp]",
    "[upstream.any]",
    "[upstream.other]",
    "[group.any]",
    "[[rule]]",
    "[policy]",
    "[sidecar]",
    "[limits]",
    "[dns]",
  );
  const entry = fc.tuple(key, value).map(([key, value]) =>
    key === "password"
      ? `${key} = ${value === "true" ? `["${SECRET}"]` : `"${SECRET}"`}`
      : `"${key}" = ${value}`
  );
  fc.assert(
    fc.property(fc.array(fc.oneof({ arbitrary: entry, weight: 4 }, header), { maxLength: 25 }), (lines) => {
      const text = lines.join("\n");
      judge(text);
      for (const issue of readConfigText(text, "a.toml").issues) {
        assert(!formatIssue(issue).includes(SECRET), formatIssue(issue));
      }
    }),
    { numRuns: 1_000 },
  );
});

function tomlNumber(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value < 0 ? "-inf" : "inf";
  return Number.isInteger(value) && Math.abs(value) < 1e15 ? value.toFixed(0) : value.toExponential();
}
