/**
 * Facts about netfilter, policy routing and nft that the rules stand on: docs/kernel-facts.md names these tests.
 * Most take one thing away from a plan and show what it was there for.
 *
 * @module
 */
import {
  type AppliedRules,
  applyPlan,
  cleanup,
  DEFAULT_KERNEL_NUMBERS,
  detectHost,
  type Plan,
} from "../../nft/mod.ts";
import { assert, assertEquals, assertStringIncludes } from "../assert.ts";
import { type ClientSpec, GATEWAY_LAB, gatewayLab, type Lab, labTest } from "../lab/mod.ts";
import { gatewayPlan, labExec, Relay } from "./nft_lab.ts";

const { bypass } = DEFAULT_KERNEL_NUMBERS.marks;
const { servers } = GATEWAY_LAB;

/** 1000 bytes to an echo server and back. */
function echoOnce(port: number, address: string = servers.v4): ClientSpec {
  return {
    address,
    port,
    connectTimeoutMs: 2_000,
    timeoutMs: 4_000,
    steps: [{ do: "send", bytes: 1000 }, { do: "await-bytes", bytes: 1000 }],
  };
}

async function apply(lab: Lab, plan: Plan): Promise<AppliedRules> {
  const exec = labExec(lab.host("gateway"));
  return await applyPlan(plan, { exec, host: await detectHost(exec), backend: "nft", keep: "process" });
}

labTest("fact: with SYN cookies a connection has no socket to follow, and TPROXY loses it", async () => {
  for (const [cookies, received] of [["1", 1000], ["2", 0]] as const) {
    await using lab = await gatewayLab({ gatewaySysctls: { "net/ipv4/tcp_syncookies": cookies } });
    await using echo = await lab.host("internet").serve({ kind: "echo" });
    await using relay = await Relay.start(lab.host("gateway"), { keep: "none", mark: bypass });
    await using _rules = await apply(lab, gatewayPlan());
    for (const address of [servers.v4, servers.v6]) {
      const result = await lab.host("client").connect(echoOnce(echo.port, address));
      // Our listener answers the SYN; the last ACK goes past it to a server that knows of no connection, and its
      // reset ends the client's before or after it has noticed that it was connected.
      assertEquals(result.received ?? 0, received, `${address}, cookies ${cookies}`);
    }
    assertEquals(relay.acceptedCount, received === 0 ? 0 : 2);
  }
});

labTest("fact: with SYN cookies REDIRECT still delivers", async () => {
  await using lab = await gatewayLab({ gatewaySysctls: { "net/ipv4/tcp_syncookies": "2" } });
  await using echo = await lab.host("internet").serve({ kind: "echo" });
  const destination = { 4: `${servers.v4}:${echo.port}`, 6: `[${servers.v6}]:${echo.port}` };
  await using _relay = await Relay.start(lab.host("gateway"), { keep: "none", mark: bypass, destination });
  await using _rules = await apply(lab, gatewayPlan({ tcp: "redirect" }));
  for (const address of [servers.v4, servers.v6]) {
    const result = await lab.host("client").connect(echoOnce(echo.port, address));
    assertEquals([result.outcome, result.received], ["connected", 1000]);
  }
});

labTest("fact: REDIRECT with the client's source needs a conntrack zone of its own", async () => {
  for (const zoned of [true, false]) {
    await using lab = await gatewayLab();
    await using echo = await lab.host("internet").serve({ kind: "echo" });
    const destination = { 4: `${servers.v4}:${echo.port}`, 6: `[${servers.v6}]:${echo.port}` };
    await using _relay = await Relay.start(lab.host("gateway"), {
      keep: "endpoint",
      mark: bypass,
      destination,
    });
    const plan = gatewayPlan({ tcp: "redirect", source: "keep" });
    const chains = plan.chains.filter(({ rules }) => !rules.some(({ verdict }) => verdict.kind === "zone"));
    assert(chains.length < plan.chains.length);
    await using _rules = await apply(lab, zoned ? plan : { ...plan, chains });
    const result = await lab.host("client").connect(echoOnce(echo.port));
    assertEquals(result.received ?? 0, zoned ? 1000 : 0, zoned ? "with" : "without");
  }
});

labTest(
  "fact: an open REDIRECT connection is translated only while some nat chain asks conntrack",
  async () => {
    await using lab = await gatewayLab();
    await using echo = await lab.host("internet").serve({ kind: "echo" });
    const destination = { 4: `${servers.v4}:${echo.port}`, 6: `[${servers.v6}]:${echo.port}` };
    await using _relay = await Relay.start(lab.host("gateway"), { keep: "none", mark: bypass, destination });
    const rules = await apply(lab, gatewayPlan({ tcp: "redirect" }));
    const again: ClientSpec["steps"] = [
      { do: "send", bytes: 1000 },
      { do: "await-bytes", bytes: 1000 },
      // Long enough for the rules to go.
      { do: "sleep", ms: 3_000 },
      { do: "send", bytes: 1000 },
      { do: "await-bytes", bytes: 2000 },
    ];
    await using run = lab.host("client").startClients([{
      ...echoOnce(echo.port),
      timeoutMs: 6_000,
      steps: again,
    }]);
    await run.progress(({ received }) => received >= 1000);
    await rules.revert();
    assertEquals((await run.results()).map(({ received }) => received), [1000]);
  },
);

labTest(
  "fact: under src_valid_mark=1 a routing rule for every interface loses forwarded TPROXY",
  async () => {
    const gatewaySysctls = { "net/ipv4/conf/all/src_valid_mark": "1", "net/ipv4/conf/all/rp_filter": "1" };
    for (const scoped of [true, false]) {
      await using lab = await gatewayLab({ gatewaySysctls });
      await using echo = await lab.host("internet").serve({ kind: "echo" });
      await using _relay = await Relay.start(lab.host("gateway"), { keep: "none", mark: bypass });
      await using _rules = await apply(lab, gatewayPlan());
      if (!scoped) {
        const gateway = lab.host("gateway");
        const words = ["fwmark", "0x1000000/0x3000000", "lookup", "7873", "pref", "8999"];
        await gateway.output(["ip", "-4", "rule", "add", ...words]);
      }
      const result = await lab.host("client").connect(echoOnce(echo.port));
      assertEquals(result.received ?? 0, scoped ? 1000 : 0, scoped ? "by interface" : "for every interface");
    }
  },
);

labTest("fact: nft -i takes a line as one transaction, and tells of errors on stderr alone", async () => {
  await using lab = await gatewayLab();
  await using nft = lab.host("gateway").spawn(["nft", "-i"]);
  await nft.write("add table inet first; add chain inet nosuch c\n");
  await nft.stderr.waitFor((line) => line.includes("Error:") || undefined, 15_000);
  await nft.write('add table inet second { comment "kept"; }\nlist tables\n');
  const listed = await nft.stdout.waitFor((line) => line.startsWith("table ") ? line : undefined, 15_000);
  // The session went on, and of the line that failed nothing was done.
  assertEquals(listed, "table inet second");
  assertEquals(nft.stdout.text().includes("Error"), false);
  await nft.closeStdin();
  assertEquals((await nft.wait(15_000)).code, 0);
  assertStringIncludes(nft.stderr.text(), "nosuch");
});

labTest("fact: REDIRECT with no listener refuses, where TPROXY lets pass", async () => {
  for (const tcp of ["redirect", "tproxy"] as const) {
    await using lab = await gatewayLab();
    await using echo = await lab.host("internet").serve({ kind: "echo" });
    await using _rules = await apply(lab, gatewayPlan({ tcp }));
    for (const address of [servers.v4, servers.v6]) {
      const { outcome } = await lab.host("client").connect(echoOnce(echo.port, address));
      assertEquals(outcome, tcp === "redirect" ? "refused" : "connected");
    }
  }
});

labTest("fact: what is ours can be removed by hand, by table name and protocol number", async () => {
  await using lab = await gatewayLab();
  const gateway = lab.host("gateway");
  const exec = labExec(gateway);
  const foreign = "from all lookup main pref 4242 protocol 42".split(" ");
  await gateway.output(["ip", "rule", "add", ...foreign]);
  await applyPlan(gatewayPlan({ source: "keep" }), {
    exec,
    host: await detectHost(exec),
    backend: "nft",
    keep: "kept",
  });
  await gateway.output(["nft", "delete", "table", "inet", "pellucid"]);
  for (const family of ["-4", "-6"]) {
    await gateway.output(["ip", family, "rule", "flush", "protocol", "173"]);
    await gateway.output(["ip", family, "route", "flush", "table", "7873", "proto", "173"]);
  }
  assertEquals(await cleanup(exec), { removed: [], inUse: [], left: [] });
  assertStringIncludes(await gateway.output(["ip", "rule"]), "4242:");
});
