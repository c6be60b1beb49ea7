/**
 * Running a load, from the test's side.
 *
 * @module
 */
import type { DatagramLoadResult, DatagramLoadSpec } from "./datagram_load_main.ts";
import type { LabHost } from "./host.ts";

const TIMEOUT_MS = 60_000;

/** Sends a load from a host to servers of kind `load`, and tells what came of it. */
export async function runLoad(host: LabHost, spec: DatagramLoadSpec): Promise<DatagramLoadResult> {
  const program = new URL("datagram_load_main.ts", import.meta.url).href;
  // Its standard input stays open: the program ends with it.
  const process = host.deno(program, [JSON.stringify(spec)]);
  const { success, code } = await process.wait(TIMEOUT_MS);
  if (!success) throw new Error(`load: exit ${code}:\n${process.stderr.tail()}`);
  return JSON.parse(process.stdout.lines[0]!) as DatagramLoadResult;
}
