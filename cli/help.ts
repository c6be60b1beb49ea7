/**
 * The help, made from the table of commands.
 *
 * @module
 */
import { ConfigError } from "../config/mod.ts";
import { type Command, EXIT, type ExitCode, PROGRAM } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import type { Flag } from "./flag.ts";
import { unknownCommand } from "./find_command.ts";

const WIDTH = 100;
/** Longer ones of a flag's name and placeholder have a line of their own. */
const LONGEST_HEAD = 32;

/** `help [COMMAND]` */
// deno-lint-ignore require-await -- commands are asynchronous
export async function help(_values: unknown, operands: readonly string[]): Promise<ExitCode> {
  const name = operands.join(" ");
  const wanted = COMMANDS.find((command) => command.name === name);
  const members = COMMANDS.filter((command) => name === "" || command.name.startsWith(`${name} `));
  if (wanted === undefined && members.length === 0) throw new ConfigError([unknownCommand(operands)]);
  console.log(wanted === undefined ? renderHelp(members) : renderCommandHelp(wanted));
  return EXIT.ok;
}

/** A list of commands: all, or those whose names begin with the same word. */
export function renderHelp(commands: readonly Command[] = COMMANDS): string {
  const width = Math.max(...commands.map((command) => command.name.length));
  return [
    `${PROGRAM}: a transparent proxy for Linux`,
    "",
    `usage: ${PROGRAM} COMMAND [FLAGS]`,
    "",
    "commands:",
    ...commands.map((command) => `  ${command.name.padEnd(width)}  ${command.summary}`),
    "",
    `\`${PROGRAM} COMMAND --help\` shows a command's flags.`,
    "",
    ...EXIT_CODES,
  ].join("\n");
}

/** Everything about one command. */
export function renderCommandHelp(command: Command): string {
  const operands = command.operands === undefined ? "" : ` ${command.operands}`;
  return [
    `${PROGRAM} ${command.name}: ${command.summary}`,
    "",
    `usage: ${PROGRAM} ${command.name}${operands} [FLAGS]`,
    "",
    ...command.about.flatMap((paragraph) => [...wrap(paragraph, WIDTH), ""]),
    "flags:",
    ...renderFlags(command),
    "",
    "examples:",
    ...command.examples.flatMap(([args, purpose]) => [
      `  ${PROGRAM} ${command.name} ${args}`.trimEnd(),
      `      ${purpose}`,
    ]),
    "",
    ...EXIT_CODES,
  ].join("\n");
}

const EXIT_CODES = ["exit codes: 0 done, 1 failed at run time, 2 wrong usage or configuration"];

/** The flags, those with a heading under it, after those without one. */
function renderFlags(command: Command): string[] {
  const rows = Object.entries(command.flags).map(([name, flag]) =>
    [flagHead(name, flag), flagText(flag), flag.heading] as const
  );
  // A long head stands on a line of its own instead of pushing every text to the right.
  const width = Math.max(...rows.map(([head]) => head.length).filter((length) => length <= LONGEST_HEAD));
  const groups = Map.groupBy(rows, ([, , heading]) => heading);
  const first = groups.get(undefined) ?? [];
  groups.delete(undefined);
  return [
    ...first.flatMap((row) => renderFlag(row, width)),
    ...[...groups].flatMap(([heading, group], i) => [
      ...(i === 0 && first.length === 0 ? [] : [""]),
      `${heading}:`,
      ...group.flatMap((row) => renderFlag(row, width)),
    ]),
  ];
}

function renderFlag([head, text]: readonly [string, string, ...unknown[]], width: number): string[] {
  const lines = wrap(text, WIDTH - width - 4);
  const first = head.length > width ? [`  ${head}`] : [`  ${head.padEnd(width)}  ${lines.shift()}`];
  return [...first, ...lines.map((line) => `  ${" ".repeat(width)}  ${line}`)];
}

function flagHead(name: string, flag: Flag<unknown>): string {
  return flag.shape === "switch" ? `--${name}` : `--${name} ${flag.placeholder}`;
}

function flagText(flag: Flag<unknown>): string {
  return flag.fallbackText === "" ? flag.help : `${flag.help} (default: ${flag.fallbackText})`;
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) {
      lines[lines.length - 1] = `${last} ${word}`;
    } else lines.push(word);
  }
  return lines;
}
