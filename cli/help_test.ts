import { assert, assertEquals, assertLessOrEqual, assertStringIncludes } from "../tests/assert.ts";
import { COMMANDS } from "./commands.ts";
import { findCommand, unknownCommand } from "./find_command.ts";
import { renderCommandHelp, renderHelp } from "./help.ts";

Deno.test("help lists every command", () => {
  for (const command of COMMANDS) assertStringIncludes(renderHelp(), `  ${command.name} `);
});

Deno.test("a command's help shows every flag with its default, examples and exit codes", () => {
  for (const command of COMMANDS) {
    // As one line, since texts are wrapped.
    const help = renderCommandHelp(command).replaceAll(/\s+/g, " ");
    for (const [name, flag] of Object.entries(command.flags)) {
      const value = flag.placeholder === "" ? "" : ` ${flag.placeholder}`;
      const fallback = flag.fallbackText === "" ? "" : ` (default: ${flag.fallbackText})`;
      assertStringIncludes(help, ` --${name}${value} ${flag.help}${fallback}`);
    }
    assert(command.examples.length > 0, `${command.name}: an example`);
    for (const [args] of command.examples) {
      assertStringIncludes(help, `pellucid ${command.name} ${args}`.trim());
    }
    assertStringIncludes(help, "exit codes: 0 done, 1 failed at run time, 2 wrong usage or configuration");
  }
});

Deno.test("a command's help shows flags under their headings, each heading once", () => {
  const run = COMMANDS.find(({ name }) => name === "run")!;
  const lines = renderCommandHelp(run).split("\n");
  const headings = new Set(Object.values(run.flags).flatMap(({ heading }) => heading ?? []));
  assert(headings.size >= 3, [...headings].join());
  const shown = new Map<string, string>();
  let heading = "";
  for (const line of lines) {
    if (/^\S.*:$/.test(line)) heading = line.slice(0, -1);
    const name = /^ {2}--([a-z-]+)/.exec(line)?.[1];
    if (name !== undefined) shown.set(name, heading);
  }
  for (const [name, flag] of Object.entries(run.flags)) {
    assertEquals(shown.get(name), flag.heading ?? "flags", name);
  }
  for (const one of headings) assertEquals(lines.filter((line) => line === `${one}:`).length, 1, one);
});

Deno.test("help fits a terminal of 100 columns", () => {
  for (const text of [renderHelp(), ...COMMANDS.map(renderCommandHelp)]) {
    for (const line of text.split("\n")) assertLessOrEqual(line.length, 100, line);
  }
});

Deno.test("every example is accepted by its own command", async () => {
  for (const command of COMMANDS) {
    for (const [args] of command.examples) {
      const { issues } = await command.invoke(args.split(" ").filter((word) => word !== ""));
      assertEquals(issues, [], `${command.name} ${args}`);
    }
  }
});

Deno.test("findCommand: two words before one", () => {
  assertEquals(findCommand(["rules", "apply", "--local"])?.command.name, "rules apply");
  assertEquals(findCommand(["rules", "apply", "--local"])?.rest, ["--local"]);
  assertEquals(findCommand(["run", "--local"])?.command.name, "run");
  assertEquals(findCommand(["rules"]), undefined);
  assertEquals(findCommand([]), undefined);
});

Deno.test("unknownCommand: says what was meant, or where to look", () => {
  assertStringIncludes(unknownCommand(["rnu", "--local"]).hint ?? "", "pellucid run");
  assertStringIncludes(unknownCommand(["rules", "aply"]).hint ?? "", "pellucid rules apply");
  assertStringIncludes(
    unknownCommand(["rules"]).wanted,
    "rules render, rules apply, rules verify, rules counters, rules cleanup",
  );
  assertStringIncludes(unknownCommand(["--local"]).found, "--local");
});
