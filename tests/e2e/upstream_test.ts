/**
 * TCP through a SOCKS5 server: what client, SOCKS server and destination see, in every mode and family, and what the
 * client sees when the server is at fault.
 */
import { BUILT_IN_UPSTREAMS, type RunConfig, type UpstreamConfig } from "../../config/mod.ts";
import { assert, assertEquals, assertGreaterOrEqual, assertLess, assertStringIncludes } from "../assert.ts";
import {
  type ClientResult,
  type ClientStep,
  GATEWAY_LAB,
  gatewayLab,
  type Lab,
  labTest,
  seededSha256,
  type SocksFault,
  SocksServer,
  type SocksServerSpec,
} from "../lab/mod.ts";
import { endpoint, type Mode, RunningProxy } from "./relay_site.ts";
import { rule, SERVER_TIMEOUT_MS, socks5 } from "./upstream_configs.ts";

const APP = new URL("./relay_app_main.ts", import.meta.url).href;
const { servers, gateway } = GATEWAY_LAB;
const LOGIN = { username: "pellucid", password: "correct horse" };

/** The proxy in the gateway of a lab that there is. */
async function start(lab: Lab, settings: Partial<RunConfig>): Promise<RunningProxy> {
  const process = lab.host("gateway").deno(APP, [JSON.stringify({ workers: 1, ...settings })]);
  return await RunningProxy.ready(process);
}

function through(upstreams: readonly UpstreamConfig[], otherwise: string): Partial<RunConfig> {
  return {
    upstreams: [...BUILT_IN_UPSTREAMS, ...upstreams],
    policy: { rules: [], otherwise, pushDown: true },
  };
}

/** A rule that changes or counts packets on their way through a host. */
const watch = (hook: "input" | "output", rule: string) => [
  "nft",
  `table inet watch { chain watch { type filter hook ${hook} priority 0; meta l4proto tcp ${rule}; }; }`,
];

const BYTES = 200_000;
const TALK: ClientStep[] = [
  { do: "send", bytes: BYTES, seed: 7 },
  { do: "await-bytes", bytes: BYTES },
  { do: "half-close" },
  { do: "await-end" },
];

for (const mode of ["tproxy", "redirect"] as const satisfies Mode[]) {
  for (const login of [undefined, LOGIN]) {
    const name = `${mode}, ${login === undefined ? "no password" : "a password"}`;
    labTest(
      `upstream: ${name}: a SOCKS5 server carries both families, asked in one packet`,
      async (context) => {
        await using lab = await gatewayLab();
        const internet = lab.host("internet");
        const socks = await SocksServer.start(internet, { ...(login === undefined ? {} : { login }) });
        const echo = await internet.serve({ kind: "echo" });
        const credentials = login === undefined
          ? null
          : { username: login.username, password: { kind: "text", text: login.password } } as const;
        for (const [server, by] of [[servers.v4b, gateway.wanV4], [servers.v6b, gateway.wanV6]] as const) {
          const upstream = socks5("office", socks.port, {
            server: { host: server, port: socks.port },
            credentials,
          });
          const proxy = await start(lab, { tcp: mode, ...through([upstream], "office") });
          for (const address of [servers.v4, servers.v6]) {
            await context.step(`${address} by ${server}`, async () => {
              const before = socks.requests.length;
              const seen = await lab.host("client").connect({ address, port: echo.port, steps: TALK });
              assertEquals([seen.outcome, seen.end, seen.received], ["connected", "fin", BYTES]);
              assertEquals(seen.receivedSha256, seededSha256(7, BYTES));
              const [request, ...others] = socks.requests.slice(before);
              assertEquals(others, []);
              assertEquals([request!.target, request!.username], [
                endpoint(address, echo.port),
                login?.username,
              ]);
              assertEquals(request!.reads, 1);
              assert(request!.peer.includes(by), request!.peer);
              const flow = await proxy.flowOf(seen);
              assertEquals([flow.upstream, flow.end.reason, flow.bytesUp], ["office", "closed", BYTES]);
              // The server closes the connection that it made, and not the client's.
              assertEquals((await echo.nextClosed()).received, BYTES);
            });
          }
          assertEquals((await proxy.stop()).stopped.totals.tcpUpstreamFailed, 0);
        }
      },
    );
  }
}

const UNTIL_END: ClientStep[] = [{ do: "await-end" }];

/** It may come before the client has seen that it is connected. */
function assertReset({ outcome, end }: ClientResult): void {
  assert(outcome === "reset" || outcome === "connected" && end === "reset", `${outcome}, ${end}`);
}

interface FaultCase {
  readonly name: string;
  readonly spec: SocksServerSpec;
  readonly reason: string;
  readonly leastMs?: number;
  /** Whether it is the upstream's fault, and therefore warned of. */
  readonly isWarned?: boolean;
}

const atStep = (fault: SocksFault): FaultCase => ({
  name: String(fault),
  spec: { fault },
  reason: "upstream-failed",
});
const replies = (reply: number, reason: string, isWarned = false): FaultCase => ({
  name: `reply ${reply}`,
  spec: { fault: { reply } },
  reason,
  isWarned,
});

const FAULTS: readonly FaultCase[] = [
  atStep("close-on-accept"),
  atStep("close-on-greeting"),
  atStep("close-on-request"),
  atStep("garbage"),
  { ...atStep("mute"), leastMs: SERVER_TIMEOUT_MS - 20 },
  { name: "another password", spec: { login: { ...LOGIN, password: "wrong" } }, reason: "upstream-auth" },
  replies(2, "denied", true),
  replies(3, "unreachable"),
  replies(4, "unreachable"),
  replies(5, "refused"),
];

labTest("upstream: what a SOCKS5 server does wrong is a RST to the client, and named", async (context) => {
  await using lab = await gatewayLab();
  const internet = lab.host("internet");
  const started = await Promise.all(
    FAULTS.map(async (one) => [one, await SocksServer.start(internet, one.spec)] as const),
  );
  const gone = await SocksServer.start(internet);
  await gone.process.stop();
  const cases: [FaultCase, number][] = [
    ...started.map(([one, { port }]): [FaultCase, number] => [one, port]),
    [{ name: "nobody listens", spec: {}, reason: "upstream-failed" }, gone.port],
  ];
  const names = cases.map((_, i) => `server${i}`);
  const proxy = await start(lab, {
    upstreams: BUILT_IN_UPSTREAMS.concat(cases.map(([{ spec }, port], i) =>
      socks5(names[i]!, port, {
        credentials: spec.login === undefined
          ? null
          : { username: LOGIN.username, password: { kind: "text", text: LOGIN.password } },
      })
    )),
    policy: {
      rules: names.map((name, i) => rule({ destinationPorts: [{ first: 1000 + i, last: 1000 + i }] }, name)),
      otherwise: "direct",
      pushDown: false,
    },
  });
  let failed = 0;
  for (const [i, [{ name, reason, leastMs = 0, isWarned = true }]] of cases.entries()) {
    await context.step(name, async () => {
      const port = 1000 + i;
      assertReset(await lab.host("client").connect({ address: servers.v4, port, steps: UNTIL_END }));
      const flow = await proxy.flowTo(endpoint(servers.v4, port));
      assertEquals([flow.upstream, flow.end, flow.bytesUp], [names[i], { reason, side: "upstream" }, 0]);
      assertGreaterOrEqual(flow.durationMs, leastMs);
      assertLess(flow.durationMs, leastMs + 1500);
      const warnings = proxy.events("warning").filter(({ message }) => message.includes(`:${cases[i]![1]}`));
      assertEquals(warnings.length, isWarned ? 1 : 0, warnings.map(({ message }) => message).join());
      if (isWarned && reason !== "denied") failed++;
      // One warning of a kind a second.
      await new Promise((resolve) => setTimeout(resolve, 1050));
    });
  }
  const { tcpUpstreamFailed, tcpDialFailed, tcpOpenNow } = (await proxy.stop()).stopped.totals;
  assertEquals([tcpUpstreamFailed, tcpDialFailed, tcpOpenNow], [failed, cases.length, 0]);
  const log = proxy.process.stderr.lines.join("\n");
  assert(!log.includes(LOGIN.password), "a password in the log");
});

labTest("upstream: answers byte by byte are answers", async () => {
  await using lab = await gatewayLab();
  const socks = await SocksServer.start(lab.host("internet"), { login: LOGIN, fault: "byte-by-byte" });
  const echo = await lab.host("internet").serve({ kind: "echo" });
  const credentials = { username: LOGIN.username, password: { kind: "text", text: LOGIN.password } } as const;
  await start(lab, through([socks5("slow", socks.port, { credentials })], "slow"));
  const seen = await lab.host("client").connect({ address: servers.v4, port: echo.port, steps: TALK });
  assertEquals([seen.outcome, seen.end, seen.received], ["connected", "fin", BYTES]);
});

labTest(
  "upstream: a client that resets while the server says nothing ends the dialogue at once",
  async () => {
    await using lab = await gatewayLab();
    const mute = await SocksServer.start(lab.host("internet"), { fault: "mute" });
    const proxy = await start(lab, through([socks5("mute", mute.port, { timeoutMs: 20_000 })], "mute"));
    const steps: ClientStep[] = [{ do: "sleep", ms: 200 }, { do: "reset" }];
    const seen = await lab.host("client").connect({ address: servers.v4, port: 80, steps });
    const flow = await proxy.flowOf(seen);
    assertEquals([flow.upstream, flow.end], ["mute", { reason: "reset", side: "client" }]);
    assertLess(flow.durationMs, 1000);
    assertEquals((await proxy.stop()).stopped.totals.tcpOpenNow, 0);
  },
);

for (const mode of ["tproxy", "redirect"] as const satisfies Mode[]) {
  labTest(
    `policy: ${mode}: rules send some direct with other options, block some, and know where from`,
    async (context) => {
      await using lab = await gatewayLab({ secondClient: true });
      const internet = lab.host("internet");
      const socks = await SocksServer.start(internet);
      const echo = await internet.serve({ kind: "echo" });
      const silenceMs = 1200;
      const port = (first: number) => ({ destinationPorts: [{ first, last: first }] });
      const proxy = await start(lab, {
        tcp: mode,
        from: ["lan0", "lan1"],
        connectTimeoutMs: silenceMs,
        upstreams: [
          ...BUILT_IN_UPSTREAMS,
          socks5("office", socks.port),
          { kind: "direct", name: "marked", source: null, interface: "wan0", mark: 0x40, dscp: 46 },
          { kind: "block", name: "silent", how: "drop" },
          { kind: "direct", name: "kept", source: "keep", interface: null, mark: 0, dscp: null },
        ],
        policy: {
          rules: [
            rule(port(7001), "block"),
            rule(port(7002), "silent"),
            rule({ interfaces: ["lan1"] }, "office"),
            rule({ dscp: [34] }, "marked"),
            rule({ destinations: [servers.v4b, servers.v6b] }, "kept"),
          ],
          otherwise: "direct",
          pushDown: false,
        },
      });
      for (const family of ["v4", "v6"] as const) {
        const address = servers[family];
        await context.step(`${family}: blocked`, async () => {
          assertReset(await lab.host("client").connect({ address, port: 7001, steps: UNTIL_END }));
          const flow = await proxy.flowTo(endpoint(address, 7001));
          assertEquals([flow.upstream, flow.end], ["block", { reason: "blocked", side: "proxy" }]);
        });
        await context.step(`${family}: told nothing, then reset`, async () => {
          const steps: ClientStep[] = [{ do: "send", bytes: 10 }, { do: "await-end" }];
          const seen = await lab.host("client").connect({ address, port: 7002, steps });
          assertEquals([seen.outcome, seen.end], ["connected", "reset"]);
          assertGreaterOrEqual(seen.durationMs, silenceMs);
          const flow = await proxy.flowOf(seen);
          assertEquals([flow.upstream, flow.end], ["silent", { reason: "blocked", side: "proxy" }]);
          assertGreaterOrEqual(flow.durationMs, silenceMs);
        });
        await context.step(`${family}: by interface`, async () => {
          const before = socks.requests.length;
          const seen = await lab.host("client2").connect({ address, port: echo.port, steps: TALK });
          assertEquals([seen.received, socks.requests.length - before], [BYTES, 1]);
          assertEquals((await proxy.flowOf(seen)).upstream, "office");
          const other = await lab.host("client").connect({ address, port: echo.port, steps: TALK });
          assertEquals([other.received, socks.requests.length - before], [BYTES, 1]);
          assertEquals((await proxy.flowOf(other)).upstream, "direct");
        });
        await context.step(`${family}: with the client's address, where a rule says so`, async () => {
          const kept = await lab.host("client").connect({
            address: servers[`${family}b`],
            port: echo.port,
            steps: TALK,
          });
          assertEquals([kept.outcome, kept.received], ["connected", BYTES]);
          assertEquals((await proxy.flowOf(kept)).local, kept.local);
          const own = await lab.host("client").connect({ address, port: echo.port, steps: TALK });
          assertEquals([own.outcome, own.received], ["connected", BYTES]);
          assert((await proxy.flowOf(own)).local !== own.local);
        });
        await context.step(`${family}: by codepoint, and with options of its own`, async () => {
          // What the lab's client sends as it is, its host marks.
          const ip = family === "v4" ? "ip" : "ip6";
          await lab.host("client").output(watch("output", `${ip} dscp set 34`));
          await lab.host("gateway").output(
            watch("output", 'oifname "wan0" meta mark and 0x40 == 0x40 counter'),
          );
          await internet.output(watch("input", `${ip} dscp 46 counter`));
          const seen = await lab.host("client").connect({ address, port: echo.port, steps: TALK });
          assertEquals([seen.outcome, seen.received], ["connected", BYTES]);
          assertEquals((await proxy.flowOf(seen)).upstream, "marked");
          for (const host of ["gateway", "internet"]) {
            const listed = await lab.host(host).output(["nft", "list", "table", "inet", "watch"]);
            assertGreaterOrEqual(Number(/packets (\d+)/.exec(listed)![1]), 3, `${host}: ${listed}`);
          }
          for (const host of ["client", "gateway", "internet"]) {
            await lab.host(host).output(["nft", "delete", "table", "inet", "watch"]);
          }
        });
      }
      const { tcpBlocked, tcpOpenNow } = (await proxy.stop()).stopped.totals;
      assertEquals([tcpBlocked, tcpOpenNow], [4, 0]);
    },
  );
}

labTest("routing: a secret that is not there stops the start, by the file's name", async () => {
  await using lab = await gatewayLab();
  const upstream = socks5("office", 1080, {
    credentials: { username: "me", password: { kind: "file", path: "/nowhere/secret" } },
  });
  const settings = { from: ["lan0"], ...through([upstream], "office") };
  const { code, stderr } = await lab.host("gateway").run(
    [Deno.execPath(), "run", "-A", "--cached-only", APP, JSON.stringify(settings)],
  );
  assert(code !== 0);
  assertStringIncludes(stderr, "upstream.office.password-file: /nowhere/secret: No such file");
});
