/**
 * What `explain --live` is worth: evaluate.ts and the kernel say the same of packets of every kind, by each backend;
 * and where they do not, it is said.
 *
 * @module
 */
import { ourselves } from "../../demo/ourselves.ts";
import { buildPlan } from "../../nft/build_plan.ts";
import { evaluate } from "../../nft/evaluate.ts";
import { type BackendName, BACKENDS } from "../../nft/mod.ts";
import { OPEN_FLOW, type Packet, type PacketHost, type Sent } from "../../nft/packet.ts";
import { type Comparison, ScratchError, tryLive } from "../../scratch/mod.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../assert.ts";
import { type IntentChanges, intentWith } from "../fixtures/intents.ts";
import { ARRIVING, GATEWAY } from "../fixtures/packets.ts";
import { gatewayLab, labTest } from "../lab/mod.ts";

const DOWN: PacketHost = { ...GATEWAY, proxy: "down" };
const { marks } = intentWith();

const ROOT: Sent = { kind: "sent", interface: "wan0", owner: { uid: 0, gid: 0, cgroup: "" } };
const SENT: Packet = { ...ARRIVING, way: ROOT, source: "198.51.100.1" };
const V6: Partial<Packet> = { family: 6, source: "2001:db8:1::7", destination: "2001:db8:9::1" };
const UDP: Partial<Packet> = { protocol: "udp", tcpFirst: false, destinationPort: 53 };
const LATER: Partial<Packet> = { tcpFirst: false, flow: OPEN_FLOW };

interface Case {
  readonly what: string;
  readonly intent: IntentChanges;
  readonly packet: Packet;
  readonly host?: PacketHost;
  /** The verdict and the deciding rule. */
  readonly decides: string;
}

const FORWARDED: IntentChanges = { from: ["lan0"] };
const CLOSED: IntentChanges = { ...FORWARDED, local: true, onProxyDown: "closed" };
const REDIRECT: IntentChanges = { tcp: "redirect", from: ["lan0"], local: true };
const DATAGRAMS: IntentChanges = { udp: "tproxy", udpWorkers: 2, from: ["lan0"], local: true };
const POD: IntentChanges = { sidecar: { dns: { port: 15053, servers: [] } } };

const CASES: readonly Case[] = [
  { what: "a connection", intent: FORWARDED, packet: ARRIVING, decides: "taken tcp_in_take/take" },
  {
    what: "one by IPv6",
    intent: FORWARDED,
    packet: { ...ARRIVING, ...V6 },
    decides: "taken tcp_in_take/take",
  },
  {
    what: "one to the gateway",
    intent: FORWARDED,
    packet: { ...ARRIVING, destination: "198.51.100.1" },
    decides: "pass tcp_in_new/here",
  },
  {
    what: "one to the network's broadcast address",
    intent: FORWARDED,
    packet: { ...ARRIVING, destination: "198.51.100.255" },
    decides: "pass tcp_in_new/here",
  },
  {
    what: "one from elsewhere",
    intent: FORWARDED,
    packet: { ...ARRIVING, way: { kind: "arriving", interface: "lan1", mac: "" } },
    decides: "pass none",
  },
  { what: "an older one", intent: FORWARDED, packet: { ...ARRIVING, ...LATER }, decides: "pass none" },
  { what: "one without a proxy", intent: FORWARDED, packet: ARRIVING, host: DOWN, decides: "pass none" },
  {
    what: "one that is not to pass without a proxy",
    intent: CLOSED,
    packet: ARRIVING,
    host: DOWN,
    decides: "drop tcp_in_take/closed",
  },
  {
    what: "an own one that is not to pass without a proxy",
    intent: CLOSED,
    packet: SENT,
    host: DOWN,
    decides: "drop tcp_in_take/closed",
  },
  { what: "an own one", intent: { local: true }, packet: SENT, decides: "taken tcp_in_take/take" },
  {
    what: "an own one by IPv6",
    intent: { local: true },
    packet: { ...SENT, ...V6, source: "2001:db8:1::1" },
    decides: "taken tcp_in_take/take",
  },
  {
    what: "one of ours",
    intent: { local: true },
    packet: { ...SENT, mark: marks.bypass },
    decides: "pass tproxy_out/bypass",
  },
  {
    what: "one of a VPN",
    intent: { local: true },
    packet: { ...SENT, mark: 0xca6c },
    decides: "pass tcp_out_new/foreign",
  },
  {
    what: "marked before it is looked at",
    intent: { ...FORWARDED, select: { marks: { include: [], exclude: [{ value: 0x10, mask: 0xff }] } } },
    packet: { ...ARRIVING, mark: 0x10 },
    decides: "pass tcp_in_new/not-mark",
  },
  {
    what: "from a network card that is left alone",
    intent: { ...FORWARDED, select: { macs: { include: [], exclude: ["02:00:5e:10:00:01"] } } },
    packet: { ...ARRIVING, way: { kind: "arriving", interface: "lan0", mac: "02:00:5e:10:00:01" } },
    decides: "pass tcp_in_new/not-mac",
  },
  {
    what: "by NAT, and the rule that keeps it closed looks on",
    intent: { ...REDIRECT, onProxyDown: "closed" },
    packet: ARRIVING,
    decides: "taken tcp_in_take/take",
  },
  { what: "an own one by NAT", intent: REDIRECT, packet: SENT, decides: "taken tcp_out_take/take" },
  {
    what: "by NAT, without a proxy",
    intent: { ...REDIRECT, onProxyDown: "closed" },
    packet: ARRIVING,
    host: DOWN,
    decides: "drop redirect_closed/closed-tcp",
  },
  {
    what: "an own one by NAT, without a proxy",
    intent: { ...REDIRECT, onProxyDown: "closed" },
    packet: { ...SENT, ...V6, source: "2001:db8:1::1" },
    host: DOWN,
    decides: "drop redirect_closed/closed-tcp",
  },
  {
    what: "a datagram",
    intent: DATAGRAMS,
    packet: { ...ARRIVING, ...UDP },
    decides: "taken udp_worker_0/whole-4",
  },
  {
    what: "a datagram that may be fragmented",
    intent: DATAGRAMS,
    packet: { ...ARRIVING, ...UDP, dontFragment: false },
    decides: "taken udp_worker_0/any",
  },
  {
    what: "a datagram by IPv6",
    intent: DATAGRAMS,
    packet: { ...ARRIVING, ...V6, ...UDP },
    decides: "taken udp_worker_0/whole-6",
  },
  {
    what: "an own datagram",
    intent: DATAGRAMS,
    packet: { ...SENT, ...UDP },
    decides: "taken udp_worker_0/whole-4",
  },
  {
    what: "a datagram of an older flow",
    intent: DATAGRAMS,
    packet: { ...ARRIVING, ...UDP, ...LATER },
    decides: "pass udp_in/later",
  },
  {
    what: "an echo request",
    intent: DATAGRAMS,
    packet: { ...ARRIVING, protocol: "icmp", tcpFirst: false },
    decides: "pass none",
  },
  {
    what: "to a pod",
    intent: POD,
    packet: { ...ARRIVING, destination: "198.51.100.1" },
    decides: "taken side_in_take/take",
  },
  { what: "from a pod", intent: POD, packet: SENT, decides: "taken tcp_out_take/take" },
  {
    what: "a pod's query",
    intent: POD,
    packet: { ...SENT, ...UDP },
    decides: "taken side_nat_out/dns-udp-1",
  },
  {
    what: "a pod's outbound side, led back",
    intent: POD,
    packet: { ...SENT, way: { ...ROOT, interface: "lo" }, destination: "198.51.100.1", mark: marks.reply },
    decides: "taken side_in_take/take",
  },
  {
    what: "to a pod by TPROXY",
    intent: { sidecar: { inbound: "tproxy" } },
    packet: { ...ARRIVING, destination: "198.51.100.1" },
    decides: "taken side_in_take/take",
  },
];

function tried(intent: IntentChanges, packet: Packet, host: PacketHost, backend: BackendName) {
  const plan = buildPlan(intentWith(intent));
  const predicted = evaluate(plan, packet, host);
  const sender = ourselves("explain", "sender");
  return { predicted, live: tryLive({ plan, packet, host, predicted, backend, sender }) };
}

/** Each takes most of a second, in which the machine has little to do. */
const AT_ONCE = 4;

/** What is wrong with a case; undefined: nothing. */
async function complaint({ what, intent, packet, host = GATEWAY, decides }: Case, backend: BackendName) {
  const { predicted, live } = tried(intent, packet, host, backend);
  const { agrees, text } = await live;
  const { verdict, decidedBy } = predicted;
  const rule = decidedBy === null ? "none" : `${decidedBy.chain}/${decidedBy.rule}`;
  const decided = `${typeof verdict === "string" ? verdict : "taken"} ${rule}`;
  if (decided !== decides) return `${what}: ${decided} was predicted, ${decides} wanted`;
  return agrees ? undefined : [`${what}:`, ...text].join("\n  ");
}

for (const backend of BACKENDS) {
  labTest(`explain --live: ${backend}: the kernel does what is predicted`, async () => {
    const complaints: string[] = [];
    const waiting = [...CASES];
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        complaints.push(...[await complaint(next, backend)].filter((text) => text !== undefined));
      }
    }));
    assertEquals(complaints, []);
  });

  labTest(`explain --live: ${backend}: a prediction that is wrong is contradicted`, async () => {
    const plan = buildPlan(intentWith({ from: ["lan0"] }));
    const wrong = evaluate(buildPlan(intentWith({ from: ["lan1"] })), ARRIVING, GATEWAY);
    const sender = ourselves("explain", "sender");
    const live: Comparison = await tryLive({
      plan,
      packet: ARRIVING,
      host: GATEWAY,
      predicted: wrong,
      backend,
      sender,
    });
    assertEquals([live.agrees, live.decidedBy], [false, { chain: "tcp_in_take", rule: "take" }]);
    assertStringIncludes(live.text[0]!, "tcp_in_take/take decided, where no rule was predicted");
    assertStringIncludes(live.text.join("\n"), "delivered to this host; predicted: sent on its way");
  });
}

labTest("explain --live: a user of this host is told apart where there are users", async () => {
  const select = { uids: { include: [], exclude: [{ first: 1000, last: 1000 }] } };
  const packet: Packet = { ...SENT, way: { ...ROOT, owner: { uid: 1000, gid: 0, cgroup: "" } } };
  for (const backend of BACKENDS) {
    const { live } = tried({ local: true, select }, packet, GATEWAY, backend);
    if (Deno.uid() === 0) {
      const { agrees, text } = await live;
      assert(agrees, text.join("\n"));
      assertStringIncludes(text[0]!, "tcp_out_new/not-uid");
    } else {
      // xt_owner knows only users that the namespace has; nft's skuid is a number.
      const refused = backend === "nft" ? "nobody here may be uid 1000" : "cannot be loaded";
      await assertRejects(() => live, ScratchError, refused);
    }
  }
});

labTest("explain --live: what cannot be made here is refused by name", async () => {
  const lo: Packet = { ...ARRIVING, way: { kind: "arriving", interface: "lo", mac: "" } };
  await assertRejects(() => tried({ local: true }, lo, GATEWAY, "nft").live, ScratchError, "--out lo");
  const select = { cgroups: { include: [], exclude: ["system.slice"] } };
  await assertRejects(
    () => tried({ local: true, select }, SENT, GATEWAY, "nft").live,
    ScratchError,
    "cgroup",
  );
});

labTest("explain --live: leaves nothing in the /run of the host", async () => {
  await using lab = await gatewayLab();
  const gateway = lab.host("gateway");
  const before = await gateway.output(["ls", "/run"]);
  const packet = ["10.0.0.5", "192.0.2.1:443", "tcp", "--in", "lan0"];
  await gateway.output(ourselves("explain", ...packet, "--from", "lan0", "--live"));
  assertEquals(await gateway.output(["ls", "/run"]), before);
});
