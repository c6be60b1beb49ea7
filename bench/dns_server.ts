/**
 * A name server for the internet host: Knot DNS with one zone, and the queries that dnsperf asks.
 *
 * @module
 */
import { waitUntil } from "./contestant.ts";
import { isBound } from "./process_usage.ts";
import type { InternetHost } from "./running_contestant.ts";

/** In the run's directory. */
export const QUERIES_FILE = "queries";

const ZONE = "example.org";
const NAMES = 1000;
const PORT = 53;

/** Resolves when it answers. @throws {Error} when Knot DNS does not start. */
export async function startNameServer({ directory, spawn }: InternetHost): Promise<void> {
  const names = Array.from({ length: NAMES }, (_, index) => `host${index}`);
  const records = names.map((name, index) => `${name} A 198.51.100.${index % 254 + 1}`);
  const zone = [
    `$ORIGIN ${ZONE}.`,
    "$TTL 3600",
    "@ SOA ns hostmaster 1 3600 600 86400 3600",
    "@ NS ns",
    "ns A 198.51.100.1",
    ...records,
  ];
  await Deno.writeTextFile(`${directory}/zone`, zone.join("\n") + "\n");
  await Deno.writeTextFile(
    `${directory}/${QUERIES_FILE}`,
    names.map((name) => `${name}.${ZONE} A\n`).join(""),
  );
  await Deno.writeTextFile(`${directory}/knot.conf`, renderKnotConfig(directory));
  const server = spawn(["knotd", "-c", `${directory}/knot.conf`]);
  await waitUntil(server, (pid) => isBound(pid, "udp", PORT));
}

/** One thread that answers over UDP; all its files in `directory`. */
function renderKnotConfig(directory: string): string {
  return `server:
  rundir: ${directory}
  listen: 0.0.0.0@${PORT}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: ${directory}
zone:
  - domain: ${ZONE}
    storage: ${directory}
    file: zone
    zonefile-load: whole
    journal-content: none
log:
  - target: stderr
    any: warning
`;
}
