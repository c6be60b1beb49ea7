/**
 * `reload`: has a running proxy read its configuration again.
 *
 * @module
 */
import { askReload } from "../control/ask_reload.ts";
import { EXIT, type ExitCode, PROGRAM } from "./command.ts";
import type { FlagValues } from "./flag.ts";
import type { RELOAD_FLAGS } from "./reload_flags.ts";

/** Prints what has changed, or everything that keeps it from changing. */
export async function reload(values: FlagValues<typeof RELOAD_FLAGS>): Promise<ExitCode> {
  const outcome = await askReload({ port: values.port, socket: values.socket });
  if (values.json) console.log(JSON.stringify(outcome));
  else if (outcome.kind === "reloaded") {
    for (const change of outcome.changes.length > 0 ? outcome.changes : ["nothing has changed"]) {
      console.log(change);
    }
  } else for (const issue of outcome.issues) console.error(`${PROGRAM} reload: ${issue}`);
  return outcome.kind === "reloaded" ? EXIT.ok : EXIT.failure;
}
