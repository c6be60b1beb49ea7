/**
 * `version`: what a report of a fault should name.
 *
 * @module
 */
import manifest from "../deno.json" with { type: "json" };
import { EXIT, type ExitCode, PROGRAM } from "./command.ts";

/** Prints the versions. */
// deno-lint-ignore require-await -- commands are asynchronous
export async function version(): Promise<ExitCode> {
  const { os, arch, standalone } = Deno.build;
  const form = standalone ? "compiled" : "source";
  console.log(
    `${PROGRAM} ${manifest.version} (${form}), Deno ${Deno.version.deno}, ${os} ${Deno.osRelease()} ${arch}`,
  );
  return EXIT.ok;
}
