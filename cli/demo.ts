/**
 * `demo`: the proxy at work, on a stage that needs no privilege and leaves nothing behind.
 *
 * @module
 */
import { showDemo } from "../demo/main.ts";
import { runPeer } from "../demo/peer.ts";
import { EXIT, type ExitCode } from "./command.ts";

/** Shows the demo. */
export async function demo(): Promise<ExitCode> {
  const colours = Deno.stdout.isTerminal() && !Deno.noColor;
  return await showDemo({ write: (line) => console.log(line), colours }) ? EXIT.ok : EXIT.failure;
}

/** An end of the demo's connections, which the demo starts. */
export async function demoPeer(_values: unknown, [kind, spec]: readonly string[]): Promise<ExitCode> {
  await runPeer(kind, spec);
  return EXIT.ok;
}
