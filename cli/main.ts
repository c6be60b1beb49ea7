/**
 * The command line: finds the command, reads its flags, runs it.
 *
 * @module
 */
import { ConfigError } from "../config/mod.ts";
import { type Command, EXIT, type ExitCode, type Invocation } from "./command.ts";
import { reportFailure } from "./failure.ts";
import { findCommand, unknownCommand } from "./find_command.ts";

/** Runs the command that `args` name; the answer is the exit code. */
export async function main(args: readonly string[]): Promise<ExitCode> {
  const found = findCommand(asCommand(args));
  if (found === undefined) {
    if (args.length === 0) return await showHelp();
    return reportFailure(new ConfigError([unknownCommand(args)]), {
      command: undefined,
      json: false,
      debug: false,
    });
  }
  return await runInvocation(found.command, found.command.invoke(found.rest));
}

/** The flags that other programs have in place of these commands. */
function asCommand(args: readonly string[]): readonly string[] {
  if (args[0] === "--help" || args[0] === "-h") return ["help"];
  if (args[0] === "--version" || args[0] === "-V") return ["version"];
  return args;
}

async function showHelp(): Promise<ExitCode> {
  console.error((await import("./help.ts")).renderHelp());
  return EXIT.usage;
}

async function runInvocation(command: Command, invocation: Invocation): Promise<ExitCode> {
  try {
    if (invocation.wantsHelp) {
      console.log((await import("./help.ts")).renderCommandHelp(command));
      return EXIT.ok;
    }
    if (invocation.issues.length > 0) throw new ConfigError(invocation.issues);
    return await invocation.run();
  } catch (error) {
    return reportFailure(error, { command: command.name, ...invocation.log });
  }
}
