import { assertEquals, assertThrows } from "../tests/assert.ts";
import { ConfigError } from "../config/mod.ts";
import { FIRST_OF_FLOW, OPEN_FLOW } from "../nft/packet.ts";
import { checkExplain, describedPacket, EXPLAIN_FLAGS, type ExplainValues } from "./explain_flags.ts";
import { parseFlags } from "./parse_flags.ts";

function read(...args: string[]): { values: ExplainValues; operands: readonly string[] } {
  const { values, operands, issues } = parseFlags(EXPLAIN_FLAGS, args);
  assertEquals(issues, []);
  return { values, operands };
}

function packetOf(...args: string[]) {
  const { values, operands } = read(...args);
  return describedPacket(operands, values);
}

Deno.test("explain: what comes in: endpoints, card, mark", () => {
  const flags = ["--in", "eth1", "--from", "eth1", "--mac", "02:00:5E:10:00:01", "--mark", "0xca6c"];
  assertEquals(packetOf("10.0.0.5:5555", "192.0.2.1:443", "tcp", ...flags), {
    family: 4,
    protocol: "tcp",
    source: "10.0.0.5",
    sourcePort: 5555,
    destination: "192.0.2.1",
    destinationPort: 443,
    tcpFirst: true,
    dontFragment: true,
    way: { kind: "arriving", interface: "eth1", mac: "02:00:5e:10:00:01" },
    mark: 0xca6c,
    flow: FIRST_OF_FLOW,
    socket: null,
  });
});

Deno.test("explain: what is sent: its owner, a later packet, IPv6, a source without a port", () => {
  const flags = ["--out", "eth0", "--local", "--uid", "1000", "--gid", "100", "--cgroup", "/a/b"];
  const packet = packetOf("2001:db8::1", "[2001:db8::2]:443", "tcp", "--state", "open", ...flags);
  assertEquals([packet.family, packet.tcpFirst, packet.dontFragment], [6, false, false]);
  assertEquals(packet.flow, OPEN_FLOW);
  assertEquals(packet.way, {
    kind: "sent",
    interface: "eth0",
    owner: { uid: 1000, gid: 100, cgroup: "a/b" },
  });
  const echo = packetOf("10.0.0.5", "192.0.2.1", "icmp", ...flags);
  assertEquals([echo.sourcePort, echo.destinationPort], [0, 0]);
});

Deno.test("explain: what is no packet is refused with what was found", () => {
  const refused = (...operands: string[]) => {
    const run = () => packetOf(...operands, "--in", "eth1", "--from", "eth1");
    return assertThrows(run, ConfigError).issues[0]?.path;
  };
  assertEquals(refused(), "arguments");
  assertEquals(refused("10.0.0.5", "192.0.2.1:443", "sctp"), "arguments");
  assertEquals(refused("10.0.0.5", "192.0.2.1", "tcp"), "DST");
  assertEquals(refused("host", "192.0.2.1:443", "tcp"), "SRC");
  assertEquals(refused("10.0.0.5:1", "192.0.2.1", "icmp"), "SRC");
  assertEquals(refused("10.0.0.5", "[2001:db8::2]:443", "tcp"), "SRC, DST");
});

Deno.test("explain: by which way is to be said, and only one", () => {
  const wrong = (...args: string[]) =>
    checkExplain(read(...args).values, ["10.0.0.5", "192.0.2.1:443", "tcp"]).map(({ found }) => found);
  assertEquals(wrong("--from", "eth1"), ["none"]);
  assertEquals(wrong("--from", "eth1", "--in", "eth1", "--out", "eth0"), ["both"]);
  assertEquals(wrong("--from", "eth1", "--in", "eth1"), []);
  assertEquals(wrong("--from", "eth1", "--in", "eth1", "--uid", "0"), ["set, and --in"]);
  assertEquals(wrong("--from", "eth1", "--in", "eth1", "--gid", "1", "--cgroup", "a"), [
    "set, and --in",
    "set, and --in",
  ]);
  assertEquals(wrong("--local", "--out", "eth1", "--mac", "02:00:5e:10:00:01"), ["set, and --out"]);
  assertEquals(wrong("--from", "eth1", "--in", "eth1", "--dscp", "63"), []);
  assertEquals(wrong("--from", "eth1", "--in", "eth1", "--dscp", "64"), ["64"]);
  assertEquals(wrong("--local", "--out", "eth1", "--uid", "4294967296"), ["4294967296"]);
  assertEquals(wrong("--local", "--out", "eth1", "--uid", "4294967294"), []);
  assertEquals(parseFlags(EXPLAIN_FLAGS, ["--mark", "0x1ffffffff"]).issues.length, 1);
});

Deno.test("explain: what packet is meant comes before what is wrong with the flags", () => {
  const { values } = read();
  assertEquals(checkExplain(values, []).map(({ path }) => path), [
    "arguments",
    "--from, --local, --sidecar",
    "--in, --out",
  ]);
});
