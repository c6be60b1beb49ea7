/**
 * The proxy with a configuration file in the gateway of a lab, and curl in its client: for the tests of what it makes
 * of servers that others wrote.
 *
 * @module
 */
import { assert, assertEquals } from "../assert.ts";
import { createHash } from "node:crypto";
import { formatEndpoint, parseAddress } from "../../net/mod.ts";
import { gatewayLab, type HttpAnswer, type Lab, type LabHost, seededSha256 } from "../lab/mod.ts";
import { type LoggedEvent, ProxyRun } from "./proxy_run.ts";

/** What is fetched and sent at one go. */
const BULK_BYTES = 3_000_000;

/** A lab with a folder of its own; the proxy comes and goes. */
export class UpstreamSite implements AsyncDisposable {
  private constructor(readonly lab: Lab, readonly folder: string) {}

  static async start(): Promise<UpstreamSite> {
    const lab = await gatewayLab();
    return new UpstreamSite(lab, await Deno.makeTempDir({ prefix: "pellucid-upstream-" }));
  }

  get client(): LabHost {
    return this.lab.host("client");
  }

  get internet(): LabHost {
    return this.lab.host("internet");
  }

  /** Runs the proxy for what comes from the client; `tables` are the file's, in TOML. */
  async run(tables: string): Promise<ProxyRun> {
    const file = `${this.folder}/pellucid.toml`;
    const general = `workers = 1\n[intercept]\nfrom = "lan0"\n[log]\nflows = true\n`;
    // It may hold passwords.
    await Deno.writeTextFile(file, general + tables, { mode: 0o600 });
    return await ProxyRun.start(this.lab.host("gateway"), ["--config", file]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lab.stop();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** What curl got, and the two ends of its connection as it knows them. */
export interface Fetched {
  readonly body: string;
  readonly local: string;
  readonly peer: string;
}

/** A GET request by curl. */
export async function fetchText(host: LabHost, address: string, port: number, path = "/"): Promise<Fetched> {
  const ends = "\n%{local_ip} %{local_port} %{remote_ip} %{remote_port}";
  const url = `http://${endpoint(address, port)}${path}`;
  const printed = await host.output(["curl", "-sS", "--fail", "--max-time", "15", "-w", ends, url]);
  const at = printed.trimEnd().lastIndexOf("\n");
  const [localAddress, localPort, peerAddress, peerPort] = printed.slice(at + 1).trimEnd().split(" ");
  return {
    body: printed.slice(0, at),
    local: endpoint(localAddress!, Number(localPort)),
    peer: endpoint(peerAddress!, Number(peerPort)),
  };
}

/**
 * Asks the lab's HTTP server who has asked, fetches and sends bulk, by curl.
 *
 * @returns from which address the server was asked.
 */
export async function fetchAll(site: UpstreamSite, address: string, port: number): Promise<string> {
  const { client, folder } = site;
  const { peer, url } = JSON.parse((await fetchText(client, address, port)).body) as HttpAnswer;
  assertEquals(url, `http://${endpoint(address, port)}/`);
  const base = ["curl", "-sS", "--fail", "--max-time", "20", `http://${endpoint(address, port)}`];
  const fetched = `${folder}/fetched`;
  await client.output([...base.slice(0, -1), "-o", fetched, `${base.at(-1)}/bytes/${BULK_BYTES}`]);
  const bytes = await Deno.readFile(fetched);
  assertEquals(createHash("sha256").update(bytes).digest("hex"), seededSha256(0, BULK_BYTES));
  const sent = JSON.parse(await client.output([...base, "--data-binary", `@${fetched}`])) as HttpAnswer;
  assertEquals([sent.method, sent.received], ["POST", BULK_BYTES]);
  return peer.slice(0, peer.lastIndexOf(":"));
}

/** A connection by curl that must come to nothing: the client sees a reset. */
export async function assertFetchReset(host: LabHost, address: string, port: number): Promise<void> {
  const { code, stderr } = await host.run([
    ...["curl", "-sS", "--max-time", "15", `http://${endpoint(address, port)}/`],
  ]);
  // 56: failure in receiving network data; 7: could not connect, when the RST is there before curl looks.
  assert(code === 56 || code === 7, `curl: exit code ${code}: ${stderr}`);
}

/** Every flow left by the upstream, and ended as its ends wanted. */
export function assertLeftBy(flows: readonly LoggedEvent<"flow">[], upstream: string): void {
  assert(flows.length > 0, "no flows");
  for (const { proto, client, destination, upstream: found, end } of flows) {
    assertEquals(found, upstream, `${proto} ${client} ${destination}: ${JSON.stringify(end)}`);
    // iperf3's server resets streams that it has not read to their ends.
    const good = proto === "udp" ? ["idle-timeout", "shutdown"] : ["closed", "reset"];
    assert(good.includes(end.reason), `${proto} ${client} ${destination}: ${JSON.stringify(end)}`);
  }
}

/** `ip:port` or `[ip]:port`. */
export function endpoint(address: string, port: number): string {
  return formatEndpoint({ address: parseAddress(address)!, port });
}
