/**
 * A sidecar without privileges, as in a pod whose rules somebody else has loaded: it may not mark its sockets, and is
 * known by its user. (The lab has one user, so every program of the pod counts as the proxy on its way out.)
 */
import { assertEquals, assertMatch } from "../assert.ts";
import { labTest } from "../lab/mod.ts";
import { MAIN, ProxyRun } from "./proxy_run.ts";
import {
  BOTH_FAMILIES,
  endpoint,
  exchange,
  hostOf,
  NODE,
  OUTSIDE,
  OUTSIDE_LINK,
  POD,
  SidecarSite,
} from "./sidecar_site.ts";

/** Whence our connections to the pod's programs come; ::6 is on lo for them, as 127.0.0.6 is by itself. */
const PASSTHROUGH = { v4: "127.0.0.6", v6: "::6" } as const;

/** A root without any capability. */
const UNPRIVILEGED = { prefix: ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] };
const FOREIGN_RULES = ["--rules", "none", "--proxy-uid", "0"];

async function siteWithRules(...flags: string[]): Promise<SidecarSite> {
  const site = await SidecarSite.start();
  const program = [Deno.execPath(), "run", "-A", "--cached-only", MAIN];
  await site.pod.output([...program, "rules", "apply", "--sidecar", ...flags]);
  return site;
}

labTest(
  "sidecar without privileges: its connections to the pod's programs are known by where they come from",
  async () => {
    await using site = await siteWithRules("--proxy-uid", "0");
    await site.pod.output(["ip", "-6", "address", "add", `${PASSTHROUGH.v6}/128`, "dev", "lo"]);
    const [inside, outside] = [
      await site.pod.serve({ kind: "echo" }),
      await site.outside.serve({ kind: "echo" }),
    ];
    const proxy = await site.run(FOREIGN_RULES, UNPRIVILEGED);
    for (const family of BOTH_FAMILIES) {
      await exchange(site.outside, POD[family], inside.port);
      assertEquals(hostOf((await inside.nextOpened()).peer), PASSTHROUGH[family]);
      // Sent by the proxy's user: not taken.
      await exchange(site.pod, OUTSIDE[family], outside.port);
      // What the proxy's user sends to the pod itself is for its inbound side.
      await exchange(site.pod, POD[family], inside.port);
      assertEquals(hostOf((await inside.nextOpened()).peer), PASSTHROUGH[family]);
    }
    const totals = await proxy.stopByForce();
    assertEquals([totals.tcpFinished, totals.tcpRefusedLoop, totals.tcpDialFailed], [4, 0, 0]);
    assertEquals(
      // Flows of two workers are told in no particular order.
      site.flows().map(({ direction, client, destination }) =>
        `${direction} ${hostOf(client)} ${destination}`
      ).sort(),
      BOTH_FAMILIES.flatMap((family) => [
        `inbound ${OUTSIDE_LINK[family]} ${endpoint(POD[family], inside.port)}`,
        `inbound ${POD[family]} ${endpoint(POD[family], inside.port)}`,
      ]).sort(),
    );
  },
);

labTest("sidecar without privileges: an address that lo lacks is said, and IPv4 goes on", async () => {
  await using site = await siteWithRules("--proxy-uid", "0");
  const echo = await site.pod.serve({ kind: "echo" });
  const proxy = await site.run(FOREIGN_RULES, UNPRIVILEGED);
  const { outcome, end } = await site.node.connect({
    address: POD.v6,
    port: echo.port,
    steps: [{ do: "await-end" }],
    timeoutMs: 5_000,
  });
  assertEquals(outcome === "reset" || end === "reset", true);
  const { code, hint } = await proxy.event("warning");
  assertEquals(code, "source-address");
  assertMatch(hint!, /::6/);
  await exchange(site.node, POD.v4, echo.port);
  assertEquals(hostOf((await echo.nextOpened()).peer), PASSTHROUGH.v4);
  const { tcpFinished, tcpDialFailed } = await proxy.stopByForce();
  assertEquals([tcpFinished, tcpDialFailed, site.flows().some(({ client }) => client.startsWith(NODE.v4))], [
    1,
    1,
    true,
  ]);
});

labTest("sidecar without privileges: whoever would meet its own rules does not start", async () => {
  await using site = await SidecarSite.start();
  for (
    const [flags, wanted] of [
      [["--rules", "none"], /--proxy-uid, --proxy-gid: neither has this process \(user 0, group 0\)/],
      [["--rules", "none", "--proxy-uid", "1337"], /--proxy-uid, --proxy-gid/],
      [["--proxy-uid", "0"], /CAP_NET_ADMIN missing, wanted to load rules/],
      [[...FOREIGN_RULES, "--inbound", "tproxy"], /CAP_NET_ADMIN missing, wanted for the inbound listener/],
    ] as const
  ) {
    const proxy = ProxyRun.launch(site.pod, ["--sidecar", ...flags], UNPRIVILEGED);
    assertEquals(await proxy.exitCode(), 1);
    assertMatch(proxy.process.stderr.text(), wanted);
  }
});

labTest("sidecar with CAP_NET_RAW alone: it marks its sockets and needs no user of its own", async () => {
  await using site = await siteWithRules();
  const [inside, outside] = [
    await site.pod.serve({ kind: "echo" }),
    await site.outside.serve({ kind: "echo" }),
  ];
  const prefix = ["setpriv", "--bounding-set=-all,+net_raw", "--inh-caps=-all"];
  const proxy = await site.run(["--rules", "none"], { prefix });
  assertEquals((await proxy.event("ready")).legs, [
    { direction: "outbound", mode: "redirect", port: 15001, dns: false },
    { direction: "inbound", mode: "redirect", port: 15006, dns: false },
  ]);
  for (const family of BOTH_FAMILIES) {
    await exchange(site.outside, POD[family], inside.port);
    await exchange(site.pod, OUTSIDE[family], outside.port);
  }
  const totals = await proxy.stopByForce();
  assertEquals([totals.tcpFinished, totals.tcpRefusedLoop, totals.tcpDialFailed], [4, 0, 0]);
  // Two workers tell in no order.
  assertEquals(site.flows().map(({ direction }) => direction!).toSorted(), [
    "inbound",
    "inbound",
    "outbound",
    "outbound",
  ]);
});
