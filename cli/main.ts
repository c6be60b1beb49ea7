/**
 * The command line: finds the command, reads its flags, runs it.
 *
 * @module
 */
import { ConfigError } from "../config/mod.ts";
import { type Command, EXIT, type ExitCode, type Invocation } from "./command.ts";
import { reportFailure, reportWarning } from "./failure.ts";
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
  return await runInvocation(found.command, found.rest);
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

async function runInvocation(command: Command, args: readonly string[]): Promise<ExitCode> {
  let log: Invocation["log"] = { json: false, debug: false };
  try {
    const invocation = await command.invoke(args);
    log = invocation.log;
    if (invocation.wantsHelp) {
      console.log((await import("./help.ts")).renderCommandHelp(command));
      return EXIT.ok;
    }
    for (const warning of invocation.warnings) reportWarning(warning, { command: command.name, ...log });
    if (invocation.issues.length > 0) throw new ConfigError(invocation.issues);
    return await invocation.run();
  } catch (error) {
    return reportFailure(error, { command: command.name, ...log });
  }
}
