/**
 * What the tests of the C relays share.
 *
 * @module
 */
import type { LabProcess } from "../lab/mod.ts";

/** Whether the relays can be built here. */
export function hasCompiler(): boolean {
  return new Deno.Command("sh", { args: ["-c", "command -v cc"], stdout: "null" }).outputSync().success;
}

/** How many sockets a process in a lab holds. */
export async function countSockets(process: LabProcess): Promise<number> {
  const directory = `/proc/${await process.outsidePid()}/fd`;
  const targets = [...Deno.readDirSync(directory)].map(({ name }) =>
    Deno.readLinkSync(`${directory}/${name}`)
  );
  return targets.filter((target) => target.startsWith("socket:")).length;
}
