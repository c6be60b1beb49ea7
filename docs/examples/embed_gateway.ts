/**
 * A gateway as a program of one's own: it prints each flow, and when flows fail because of the main SOCKS5 server, it
 * sends new ones by the backup.
 *
 *     deno run -A embed_gateway.ts eth1 192.0.2.10:1080 192.0.2.11:1080
 *
 * (A group of the configuration does that by itself, and tries the same flow again; here is how a program would decide
 * by what it sees.)
 *
 * @module
 */
import {
  type AppEvents,
  BUILT_IN_UPSTREAMS,
  DIRECT_POLICY,
  intercept,
  parseEndpoint,
  type RunConfig,
  type UpstreamConfig,
} from "../../mod.ts";

/** So many flows that fail in a row, and the other server has its turn. */
const FAILURES = 3;

function socks5(name: string, endpoint: string): UpstreamConfig {
  const server = parseEndpoint(endpoint);
  if (server === undefined) throw new TypeError(`${endpoint} found, ADDRESS:PORT wanted`);
  return {
    kind: "socks5",
    name,
    server: { host: server.address.text, port: server.port },
    credentials: null,
    pipeline: true,
    udp: false,
    timeoutMs: 2_000,
  };
}

/** What does not depend on which server is in use. */
function configFor(from: string, upstreams: readonly UpstreamConfig[], inUse: string): Partial<RunConfig> {
  return {
    from: [from],
    udp: "off",
    flows: true,
    drainTimeoutMs: 5_000,
    upstreams: [...BUILT_IN_UPSTREAMS, ...upstreams],
    policy: { ...DIRECT_POLICY, otherwise: inUse },
  };
}

if (import.meta.main) {
  const [from, main, backup] = Deno.args;
  if (from === undefined || main === undefined || backup === undefined) {
    console.error("usage: embed_gateway.ts INTERFACE MAIN BACKUP");
    Deno.exit(2);
  }
  const upstreams = [socks5("main", main), socks5("backup", backup)];
  let inUse = "main", failures = 0;

  const onFlow = (flow: AppEvents["flow"]) => {
    const { client, destination, upstream, bytesUp, bytesDown, end } = flow;
    console.log(
      `${client} -> ${destination} by ${upstream}: ${bytesUp} up, ${bytesDown} down, ${end.reason}`,
    );
    if (upstream !== inUse) return;
    failures = end.reason === "upstream-failed" ? failures + 1 : 0;
    if (failures < FAILURES) return;
    inUse = inUse === "main" ? "backup" : "main";
    failures = 0;
    // Live flows stay where they are.
    proxy.reload(configFor(from, upstreams, inUse)).then(({ kind }) =>
      console.log(`${kind}: by ${inUse} from now on`)
    );
  };

  await using proxy = await intercept(configFor(from, upstreams, inUse), {
    onEvent: (event) => {
      if (event.event === "flow") onFlow(event);
      else if (event.event === "warning" || event.event === "error") console.error(event.message);
    },
  });
  console.log(`ready: ${proxy.ready.listeners.join(", ")}`);
  Deno.addSignalListener("SIGTERM", () => proxy.stop());
  Deno.addSignalListener("SIGINT", () => proxy.stop());
  // Whoever listens to signals would not end by itself.
  Deno.exit(await proxy.stopped ? 0 : 1);
}
