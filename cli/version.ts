/**
 * `version`: what a report of a fault should name.
 *
 * @module
 */
import { EXIT, type ExitCode, PROGRAM } from "./command.ts";

/** As deno.json says, which a test compares. */
export const VERSION = "0.1.0";

/** Prints the versions. */
// deno-lint-ignore require-await -- commands are asynchronous
export async function version(): Promise<ExitCode> {
  const { os, arch, standalone } = Deno.build;
  const form = standalone ? "compiled" : "source";
  console.log(
    `${PROGRAM} ${VERSION} (${form}), Deno ${Deno.version.deno}, ${os} ${Deno.osRelease()} ${arch}`,
  );
  return EXIT.ok;
}
