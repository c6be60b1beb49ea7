/**
 * Groups of SOCKS5 servers in a running proxy of several workers: what clients see of members that go and come back.
 */
import { BUILT_IN_UPSTREAMS, type GroupConfig, type RunConfig } from "../../config/mod.ts";
import { assert, assertEquals, assertLess } from "../assert.ts";
import { type ClientStep, GATEWAY_LAB, gatewayLab, labTest, SocksServer } from "../lab/mod.ts";
import { RunningProxy } from "./relay_site.ts";
import { rule, socks5 } from "./upstream_configs.ts";

const APP = new URL("./relay_app_main.ts", import.meta.url).href;
const { servers } = GATEWAY_LAB;
const BYTES = 1000;
/** Enough for each of the workers to have some. */
const LIVE = 12;
const EVENT_TIMEOUT_MS = 15_000;

const TALK: ClientStep[] = [
  { do: "send", bytes: BYTES },
  { do: "await-bytes", bytes: BYTES },
  { do: "half-close" },
  { do: "await-end" },
];
const STAY: ClientStep[] = [
  { do: "send", bytes: BYTES },
  { do: "await-bytes", bytes: BYTES },
  { do: "await-end" },
];

function group(name: string, liveFlows: GroupConfig["liveFlows"]): GroupConfig {
  return {
    kind: "failover",
    name,
    members: ["first", "second"],
    check: { target: null, intervalMs: 500, timeoutMs: 500, rise: 2, fall: 2 },
    liveFlows,
  };
}

labTest(
  "group: new flows leave by the next member, live ones end or stay as configured, all members down is a reset",
  async (context) => {
    await using lab = await gatewayLab();
    const internet = lab.host("internet"), client = lab.host("client");
    const first = await SocksServer.start(internet), second = await SocksServer.start(internet);
    const echo = await internet.serve({ kind: "echo" });
    const kept = await internet.serve({ kind: "echo" });
    const settings: Partial<RunConfig> = {
      workers: 2,
      upstreams: [...BUILT_IN_UPSTREAMS, socks5("first", first.port), socks5("second", second.port)],
      groups: [group("resets", "reset"), group("keeps", "keep")],
      policy: {
        rules: [rule({ network: "tcp", destinationPorts: [{ first: kept.port, last: kept.port }] }, "keeps")],
        otherwise: "resets",
        pushDown: false,
      },
    };
    const proxy = await RunningProxy.ready(lab.host("gateway").deno(APP, [JSON.stringify(settings)]));
    const talk = () => client.connect({ address: servers.v4, port: echo.port, steps: TALK });
    const told = (name: "upstream-down" | "upstream-up", count: number) =>
      proxy.process.stderr.waitFor(
        () => proxy.events(name).length === count ? true : undefined,
        EVENT_TIMEOUT_MS,
      );
    /** Connections that there are go on; new ones are refused. */
    const refuseNew = (...ports: number[]) =>
      internet.output([
        "nft",
        `table inet gone { chain gone { type filter hook input priority 0; ` +
        `tcp dport { ${ports.join(", ")} } tcp flags & (syn | ack) == syn reject with tcp reset; }; }`,
      ]);
    const acceptAll = () => internet.output(["nft", "delete", "table", "inet", "gone"]);

    assertEquals((await talk()).received, BYTES);
    assertEquals([first.requests.length, second.requests.length], [1, 0]);

    const live = (port: number) =>
      client.startClients(
        Array.from({ length: LIVE }, () => ({ address: servers.v4, port, steps: STAY, timeoutMs: 60_000 })),
      );
    await using ending = live(echo.port);
    await using staying = live(kept.port);
    for (let i = 0; i < LIVE; i++) {
      await ending.progress(({ received }) => received === BYTES, i);
      await staying.progress(({ received }) => received === BYTES, i);
    }

    await context.step(
      "the first goes: its flows end where they are to, new ones leave by the second",
      async () => {
        await refuseNew(first.port);
        await told("upstream-down", 2);
        const results = await ending.results();
        assertEquals(results.map(({ end }) => end), Array(LIVE).fill("reset"));
        for (const result of results) {
          const { end, upstream } = await proxy.flowOf(result);
          assertEquals([end, upstream], [{ reason: "upstream-failed", side: "upstream" }, "resets"]);
        }
        assertEquals((await talk()).received, BYTES);
        assertEquals(second.requests.length, 1);
        const { group, member, membersUp, members } = proxy.events("upstream-down")
          .find(({ group }) => group === "resets")!;
        assertEquals([group, member, membersUp, members], ["resets", "first", 1, 2]);
      },
    );

    await context.step("all are gone: a reset, at once", async () => {
      await acceptAll();
      await refuseNew(first.port, second.port);
      await told("upstream-down", 4);
      for (let i = 0; i < 5; i++) {
        const { outcome, end, durationMs } = await talk();
        assert(outcome === "reset" || end === "reset", `${outcome}, ${end}`);
        assertLess(durationMs, 1000);
      }
    });

    await context.step("both are back", async () => {
      await acceptAll();
      await told("upstream-up", 4);
      const before = first.requests.length;
      assertEquals((await talk()).received, BYTES);
      assertEquals(first.requests.length, before + 1);
    });

    await context.step(
      "flows that are to be kept have noticed nothing; each change was told once",
      async () => {
        assertEquals(
          Array.from({ length: LIVE }, (_, i) => staying.counts(i).received),
          Array(LIVE).fill(BYTES),
        );
        const changes = [...proxy.events("upstream-down"), ...proxy.events("upstream-up")]
          .map(({ event, group, member }) => `${event} ${group} ${member}`).sort();
        assertEquals(
          changes,
          ["upstream-down", "upstream-up"].flatMap((event) =>
            ["keeps", "resets"].flatMap((group) =>
              ["first", "second"].map((member) => `${event} ${group} ${member}`)
            )
          ),
        );
        const keptFlows = proxy.events("flow").filter(({ upstream }) => upstream === "keeps");
        assertEquals(keptFlows, []);
        await staying.process.stop();
        const { stopped } = await proxy.stop();
        assertEquals(stopped.totals.tcpOpenNow, 0);
      },
    );
  },
);

labTest(
  "group: under load, a server that is killed costs the connections that it carried, and not one that is new",
  async () => {
    await using lab = await gatewayLab();
    const internet = lab.host("internet"), client = lab.host("client");
    let first = await SocksServer.start(internet);
    const { port } = first;
    const second = await SocksServer.start(internet);
    const echo = await internet.serve({ kind: "echo" });
    const settings: Partial<RunConfig> = {
      workers: 2,
      upstreams: [...BUILT_IN_UPSTREAMS, socks5("first", port), socks5("second", second.port)],
      groups: [group("office", "keep")],
      policy: { rules: [], otherwise: "office", pushDown: false },
    };
    const proxy = await RunningProxy.ready(lab.host("gateway").deno(APP, [JSON.stringify(settings)]));
    /** Connections that talk, rest and talk again. @returns how many could. */
    const load = async (restMs = 100, meanwhile = async () => {}) => {
      const talk = (bytes: number): ClientStep[] => [
        { do: "send", bytes: BYTES },
        { do: "await-bytes", bytes },
      ];
      const steps: ClientStep[] = [
        ...talk(BYTES),
        { do: "sleep", ms: restMs },
        ...talk(2 * BYTES),
        ...TALK.slice(2),
      ];
      const specs = Array.from({ length: 40 }, () => ({ address: servers.v4, port: echo.port, steps }));
      await using run = client.startClients(specs);
      for (let i = 0; i < specs.length; i++) await run.progress(({ received }) => received >= BYTES, i);
      await meanwhile();
      const results = await run.results();
      return results.filter(({ received, end }) => received === 2 * BYTES && end === "fin").length;
    };
    const carried = { before: 0, during: 0, without: 0, back: 0 };
    carried.before = await load() + await load();
    carried.during = await load(3000, () => first.process.kill("SIGKILL"));
    // Begins before any check has found out.
    for (let i = 0; i < 4; i++) carried.without += await load();
    const bySecond = second.requests.length;
    first = await SocksServer.start(internet, { port });
    await proxy.process.stderr.waitFor(
      () => proxy.events("upstream-up").length > 0 ? true : undefined,
      EVENT_TIMEOUT_MS,
    );
    carried.back = await load() + await load();
    assertEquals(carried, { before: 80, during: 0, without: 160, back: 80 });
    assertEquals([bySecond, second.requests.length, first.requests.length], [160, 160, 80]);
    assertEquals(proxy.events("upstream-down").map(({ member }) => member), ["first"]);
    const { stopped } = await proxy.stop();
    assertEquals([stopped.totals.tcpOpenNow, stopped.totals.tcpUpstreamFailed], [0, 0]);
  },
);
