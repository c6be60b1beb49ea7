/**
 * The proxy is killed under traffic, on every backend, with both policies: what its clients see then, and that
 * nothing else is touched.
 */
import { assert, assertEquals } from "../assert.ts";
import {
  type ClientSocket,
  DatagramClient,
  type DatagramServer,
  GATEWAY_LAB,
  gatewayLab,
  type Lab,
  type LabHost,
  type LabServer,
  labTest,
} from "../lab/mod.ts";
import { endpoint } from "./datagram_site.ts";
import { eventually, kernelState, MAIN, ProxyRun } from "./proxy_run.ts";
import { type Talk, Talker } from "./talker.ts";

const { client, gateway, servers } = GATEWAY_LAB;
const FAMILIES = ["v4", "v6"] as const;
/** Longer than any answer takes here, and than the first retransmission of a SYN. */
const SILENCE_MS = 1_500;
/** What is promised is one second; a machine that is busy with other things takes longer to look. */
const OPEN_MS = 5_000;

/** One way to be intercepted. */
interface Way {
  readonly name: string;
  readonly flags: readonly string[];
  /** Who is intercepted. */
  readonly host: "client" | "gateway";
  readonly udp: boolean;
}

const WAYS: readonly Way[] = [
  { name: "gateway, tproxy", flags: ["--from", "lan0"], host: "client", udp: true },
  {
    name: "gateway, redirect",
    flags: ["--from", "lan0", "--tcp", "redirect", "--udp", "off"],
    host: "client",
    udp: false,
  },
  { name: "host, tproxy", flags: ["--local"], host: "gateway", udp: true },
];

/** Servers and clients around a proxy in the gateway. */
class Site implements AsyncDisposable {
  private constructor(
    readonly lab: Lab,
    readonly way: Way,
    readonly echo: LabServer,
    readonly datagrams: DatagramServer,
    /** A service of the gateway's own. */
    readonly service: LabServer,
    readonly talker: Talker,
    readonly sender: DatagramClient,
  ) {}

  static async start(way: Way): Promise<Site> {
    const lab = await gatewayLab();
    const internet = lab.host("internet"), host = lab.host(way.host);
    return new Site(
      lab,
      way,
      await internet.serve({ kind: "echo" }),
      await internet.serveDatagrams({ kind: "echo" }),
      await lab.host("gateway").serve({ kind: "echo" }),
      new Talker(host),
      new DatagramClient(host),
    );
  }

  get gateway(): LabHost {
    return this.lab.host("gateway");
  }

  /** Whether a new connection reaches the server, and from which address; undefined: it was not there in time. */
  async dial(address: string, timeoutMs: number, port = this.echo.port): Promise<string | undefined> {
    const talk = this.talker.dial(address, port);
    try {
      await eventually("connected or ended", () => {
        return Promise.resolve(talk.local !== undefined || talk.end !== undefined);
      }, timeoutMs);
    } catch {
      return undefined;
    }
    if (talk.local === undefined) return `ended: ${talk.end}`;
    const before = talk.local;
    await talk.close();
    return before;
  }

  /** A socket for datagrams to the server. */
  async socket(family: typeof FAMILIES[number]): Promise<ClientSocket> {
    return await this.sender.open({ from: family === "v4" ? "0.0.0.0:0" : "[::]:0" });
  }

  /** Whether the server answers a datagram. */
  async isAnswered(socket: ClientSocket, address: string, timeoutMs: number): Promise<boolean> {
    await socket.send({ to: endpoint(address, this.datagrams.port), text: "hello" });
    return await socket.received(timeoutMs).then(() => true, () => false);
  }

  /** What is no matter of the proxy's gets through. */
  async assertOthersUntouched(): Promise<void> {
    const own = this.way.host === "client" ? gateway.v4 : "127.0.0.1";
    assert(await this.dial(own, 2_000, this.service.port) !== undefined, "a service of the gateway");
    assert(await this.dial(servers.v4b, 2_000) !== undefined, "an address that was left out");
    // With UDP off no datagram is the proxy's matter.
    const address = this.way.udp ? servers.v4b : servers.v4;
    assert(await this.isAnswered(await this.socket("v4"), address, 2_000), `a datagram to ${address}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lab.stop();
  }
}

/** A `rules` command that succeeds. */
async function pellucid(host: LabHost, ...args: string[]): Promise<void> {
  const argv = [Deno.execPath(), "run", "-A", "--cached-only", MAIN, "rules", ...args];
  const { code, stderr } = await host.run(argv);
  assertEquals([code, stderr], [0, ""], args.join(" "));
}

/** The kernel's state and, of legacy iptables, the rules without what they count. */
async function hostState(host: LabHost): Promise<string> {
  const script = "for save in iptables-legacy-save ip6tables-legacy-save; do $save; done";
  const saved = await host.output(["sh", "-c", script]);
  const rules = saved.split("\n").filter((line) => !line.startsWith("#"))
    .map((line) => line.replace(/\[\d+:\d+\]/, ""));
  return await kernelState(host) + rules.join("\n");
}

/** The kernel closes what the process had open. */
async function assertEnded(open: readonly Talk[]): Promise<void> {
  for (const talk of open) assert(["fin", "reset"].includes(await talk.ended()));
}

for (const rules of ["nft", "iptables", "iptables-legacy"] as const) {
  for (const way of WAYS) {
    for (const policy of ["open", "closed"] as const) {
      labTest(`down: ${rules}, ${way.name}, ${policy}: kill -9 under traffic`, async () => {
        await using site = await Site.start(way);
        const here = site.gateway;
        const flags = ["--rules", rules, "--on-proxy-down", policy, ...way.flags];
        // Tables that iptables makes for itself stay when they are empty: from now on they are there.
        await pellucid(here, "apply", ...flags);
        await pellucid(here, "cleanup");
        const before = await hostState(here);
        await using proxy = await ProxyRun.start(here, [...flags, "--exclude-cidr", `${servers.v4b}/32`]);
        const open = await Promise.all(
          FAMILIES.map((family) => site.talker.reach(servers[family], site.echo.port)),
        );
        const sockets = way.udp ? await Promise.all(FAMILIES.map((family) => site.socket(family))) : [];
        for (const [i, socket] of sockets.entries()) {
          assert(await site.isAnswered(socket, servers[FAMILIES[i]!], 5_000), `${FAMILIES[i]} before`);
        }
        await site.assertOthersUntouched();

        for (const talk of open) talk.mutter("under way ");
        await proxy.process.kill("SIGKILL");
        const killedAt = performance.now();
        // Until the kernel has closed its listeners they take connections.
        await proxy.process.wait(15_000);
        if (policy === "open") {
          for (const family of FAMILIES) {
            await eventually(`${family}: a new connection gets through`, async () => {
              const local = await site.dial(servers[family], 300);
              return local !== undefined && !local.startsWith("ended");
            }, OPEN_MS + 500);
          }
          for (const [i, socket] of sockets.entries()) {
            await eventually(`${FAMILIES[i]}: datagrams get through`, () => {
              return site.isAnswered(socket, servers[FAMILIES[i]!], 200);
            }, OPEN_MS + 500);
          }
          assert(performance.now() - killedAt < 2 * OPEN_MS + 2_000, "all of it");
          await eventually("all is as before", async () => await hostState(here) === before, OPEN_MS)
            // What there is instead says more than the time that has passed.
            .catch(async () => assertEquals(await hostState(here), before));
          await assertEnded(open);
          return;
        }
        const seen = site.datagrams.receivedCount;
        await Promise.all(FAMILIES.map(async (family) => {
          assertEquals(await site.dial(servers[family], SILENCE_MS), undefined, `${family}: connected`);
        }));
        for (const [i, socket] of sockets.entries()) {
          assert(!await site.isAnswered(socket, servers[FAMILIES[i]!], 500), `${FAMILIES[i]}: open flow`);
          const fresh = await site.socket(FAMILIES[i]!);
          assert(!await site.isAnswered(fresh, servers[FAMILIES[i]!], 500), `${FAMILIES[i]}: new flow`);
        }
        assertEquals(site.datagrams.receivedCount, seen, "no datagram has reached the server");
        await site.assertOthersUntouched();
        await assertEnded(open);

        await pellucid(here, "cleanup");
        assertEquals(await hostState(here), before);
        for (const family of FAMILIES) {
          const local = await site.dial(servers[family], 3_000);
          assertEquals(local?.startsWith("ended"), false, `${family}: ${local}`);
          assert(
            way.host === "gateway" || local!.includes(client[family]),
            `${local}`,
          );
        }
      }, { timeoutMs: 90_000 });
    }
  }
}
