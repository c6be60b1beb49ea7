/**
 * Which command the arguments name.
 *
 * @module
 */
import type { ConfigIssue } from "../config/mod.ts";
import { type Command, PROGRAM } from "./command.ts";
import { COMMANDS, INTERNAL_COMMANDS } from "./commands.ts";
import { nearest } from "../config/nearest.ts";

/** The command that `args` begin with, and the arguments after its name. */
export function findCommand(
  args: readonly string[],
): { command: Command; rest: readonly string[] } | undefined {
  for (const words of [2, 1]) {
    const name = args.slice(0, words).join(" ");
    const command = [...COMMANDS, ...INTERNAL_COMMANDS].find((command) => command.name === name);
    if (command !== undefined) return { command, rest: args.slice(words) };
  }
  return undefined;
}

/** What is wrong when no command was found. */
export function unknownCommand(args: readonly string[]): ConfigIssue {
  const names = COMMANDS.map((command) => command.name);
  const flagAt = args.findIndex((arg) => arg.startsWith("-"));
  const words = args.slice(0, flagAt < 0 ? 2 : Math.min(flagAt, 2));
  if (words.length === 0) {
    return {
      path: "command",
      found: `flag ${args[0]} first`,
      wanted: "a command",
      hint: `\`${PROGRAM} help\` lists the commands`,
    };
  }
  const members = names.filter((name) => name.startsWith(`${words[0]} `));
  const meant = nearest(words.join(" "), names) ?? nearest(words[0]!, names);
  return {
    path: "command",
    found: words.join(" "),
    wanted: members.length > 0 ? members.join(", ") : "a command",
    hint: meant === undefined
      ? `\`${PROGRAM} help\` lists the commands`
      : `did you mean \`${PROGRAM} ${meant}\`?`,
  };
}
