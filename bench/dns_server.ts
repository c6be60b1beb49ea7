/**
 * A name server for the internet host: NSD with one zone, and the queries that dnsperf asks.
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

/** Resolves when it answers. @throws {Error} when NSD does not start, or is not installed. */
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
  await Deno.writeTextFile(`${directory}/nsd.conf`, renderNsdConfig(directory));
  const server = spawn(["nsd", "-d", "-c", `${directory}/nsd.conf`]);
  await waitUntil(server, (pid) => isBound(pid, "udp", PORT));
}

/** One process that answers, as the user it was started by, with all its files in `directory`. */
function renderNsdConfig(directory: string): string {
  return `server:
  server-count: 1
  port: ${PORT}
  username: ""
  chroot: ""
  zonesdir: "${directory}"
  zonelistfile: "${directory}/zone.list"
  database: ""
  xfrdfile: "${directory}/xfrd.state"
  xfrdir: "${directory}"
  pidfile: "${directory}/nsd.pid"
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: ${ZONE}
  zonefile: "${directory}/zone"
`;
}
