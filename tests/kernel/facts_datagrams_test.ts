/**
 * Facts about UDP that the data plane and its rules stand on: docs/kernel-facts.md names these tests. Nothing of ours
 * runs here but a rule or two and the lab's sockets.
 *
 * @module
 */
import { assertEquals, assertNotEquals, assertRejects } from "../assert.ts";
import { DatagramClient, GATEWAY_LAB, gatewayLab, type Lab, labTest, seededSha256 } from "../lab/mod.ts";

const { servers, client: own, gateway } = GATEWAY_LAB;
const FAMILIES = [
  { server: servers.v4, other: servers.v4b, from: own.v4, any: "0.0.0.0", unused: "192.0.0.8" },
  { server: servers.v6, other: servers.v6b, from: own.v6, any: "::", unused: "100::1" },
] as const;
const LISTENER = 7000;
const DONT_FRAGMENT = 0x04000000, INTERCEPT = 0x01000000;

function at(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Takes every datagram from the client's link to a listener on LISTENER; IPv4 with don't-fragment by its own mark. */
async function intercept(lab: Lab): Promise<void> {
  const rules = `table inet facts {
  chain prerouting {
    type filter hook prerouting priority mangle;
    iifname "lan0" meta l4proto udp ip frag-off & 0x4000 != 0 tproxy ip to :${LISTENER} meta mark set ${
    INTERCEPT | DONT_FRAGMENT
  } accept
    iifname "lan0" meta l4proto udp tproxy to :${LISTENER} meta mark set ${INTERCEPT} accept
  }
}`;
  const host = lab.host("gateway");
  await host.output(["nft", "-f", "-"], { stdin: rules });
  const routes = ["-4", "-6"].map((family) =>
    `ip ${family} rule add fwmark ${INTERCEPT}/${INTERCEPT} lookup 100; ip ${family} route add local default dev lo table 100`
  );
  await host.output(["sh", "-ec", routes.join("; ")]);
}

labTest("fact: one transparent socket a source port answers from any address", async () => {
  await using lab = await gatewayLab();
  await using replies = new DatagramClient(lab.host("gateway"));
  await using client = new DatagramClient(lab.host("client"));
  for (const { server, other, from, unused } of FAMILIES) {
    const socket = await client.open({ from: at(from, 40_000) });
    const options = { from: at(unused, 53), transparent: true, reuseAddress: true } as const;
    // A second one on the same port, as another worker has.
    const [reply, second] = [await replies.open(options), await replies.open(options)];
    for (
      const [sender, source, bytes] of [[reply, server, 4000], [reply, other, 10], [
        second,
        server,
        7,
      ]] as const
    ) {
      assertEquals((await sender.send({ to: socket.local, source, bytes })).errors, {});
      const got = await socket.received();
      assertEquals([got.from, got.bytes, got.sha256], [at(source, 53), bytes, seededSha256(1, bytes)]);
    }
  }
});

labTest(
  "fact: such a socket cannot be bound while a wildcard socket without SO_REUSEADDR has its port",
  async () => {
    await using lab = await gatewayLab();
    await using sockets = new DatagramClient(lab.host("gateway"));
    for (const { any, unused } of FAMILIES) {
      const options = { from: at(unused, 53), transparent: true, reuseAddress: true } as const;
      const resolver = await sockets.open({ from: at(any, 53) });
      await assertRejects(() => sockets.open(options), Error, "EADDRINUSE");
      await resolver.close();
      await sockets.open(options);
    }
  },
);

labTest("fact: a raw socket answers from any address and port, in fragments where it must", async () => {
  await using lab = await gatewayLab();
  await using sockets = new DatagramClient(lab.host("gateway"));
  await using client = new DatagramClient(lab.host("client"));
  for (const { server, from, any } of FAMILIES) {
    await sockets.open({ from: at(any, 53) });
    const socket = await client.open({ from: at(from, 40_000) });
    const raw = await sockets.open({ from: at(any, 0), raw: true, transparent: true });
    for (const bytes of [0, 5, 1200, 4000, 60_000]) {
      const sent = await raw.send({ to: socket.local, source: server, bytes, rawFromPort: 53 });
      assertEquals(sent.errors, {}, `${server}, ${bytes}`);
      const got = await socket.received();
      assertEquals([got.from, got.bytes, got.sha256], [at(server, 53), bytes, seededSha256(1, bytes)]);
    }
  }
});

labTest(
  "fact: TPROXY hands over whole what came in fragments, and the socket is told of what size they were",
  async () => {
    await using lab = await gatewayLab();
    await intercept(lab);
    await using sockets = new DatagramClient(lab.host("gateway"));
    await using client = new DatagramClient(lab.host("client"));
    for (const { server, from, any } of FAMILIES) {
      const options = { transparent: true, receiveFragment: true } as const;
      const listener = await sockets.open({ from: at(any, LISTENER), ...options });
      const socket = await client.open({ from: at(from, 40_000) });
      const longest = 65_507 - (server.includes(":") ? 20 : 0);
      for (const [bytes, fragment] of [[1400, 0], [1500, 1500], [9000, 1500], [longest, 1500]] as const) {
        await socket.send({ to: at(server, 9), bytes });
        const got = await listener.received();
        assertEquals([got.from, got.asked, got.sha256], [socket.local, server, seededSha256(1, bytes)]);
        // Each but the last is of the link's MTU, cut to a multiple of eight.
        const largest = got.fragment ?? 0;
        assertEquals(largest > 1400 ? 1500 : largest, fragment, `${server}, ${bytes}: ${largest}`);
      }
    }
  },
);

labTest(
  "fact: SO_RCVMARK tells a socket the mark that a rule gave the packet, and so whether it had DF",
  async () => {
    await using lab = await gatewayLab();
    await intercept(lab);
    await using sockets = new DatagramClient(lab.host("gateway"));
    await using client = new DatagramClient(lab.host("client"));
    for (const { server, from, any } of FAMILIES) {
      const listener = await sockets.open({ from: at(any, LISTENER), transparent: true, receiveMark: true });
      for (const [discover, set] of [["do", true], ["dont", false], ["want", true]] as const) {
        const socket = await client.open({ from: at(from, 0), discover });
        await socket.send({ to: at(server, 9), bytes: 100 });
        // IPv6 has no such bit.
        const mark = set && from === own.v4 ? INTERCEPT | DONT_FRAGMENT : INTERCEPT;
        assertEquals((await listener.received()).mark, mark);
        await socket.send({ to: at(server, 9), bytes: 3000 });
        if (discover === "do") continue;
        // A datagram in fragments has lost the bit, if it ever had it.
        assertEquals((await listener.received()).mark, INTERCEPT);
      }
    }
  },
);

labTest(
  "fact: what leaves as UDP_SEGMENT comes through veth and TPROXY to a UDP_GRO listener as one",
  async () => {
    await using lab = await gatewayLab();
    await intercept(lab);
    await using sockets = new DatagramClient(lab.host("gateway"));
    await using client = new DatagramClient(lab.host("client"));
    for (const { server, from, any } of FAMILIES) {
      const listener = await sockets.open({ from: at(any, LISTENER), transparent: true, segments: true });
      const socket = await client.open({ from: at(from, 0) });
      await socket.send({ to: at(server, 9), bytes: 12_345, segment: 1200 });
      const got = await listener.received();
      assertEquals([got.bytes, got.segment, got.sha256], [12_345, 1200, seededSha256(1, 12_345)]);
      await listener.close();

      const plain = await sockets.open({ from: at(any, LISTENER), transparent: true });
      await socket.send({ to: at(server, 9), bytes: 2500, segment: 1200 });
      assertEquals((await plain.receivedAll(3)).map(({ bytes }) => bytes), [1200, 1200, 100]);
    }
  },
);

labTest(
  "fact: a connected socket with the packet's own addresses takes it from the TPROXY listener",
  async () => {
    await using lab = await gatewayLab();
    await intercept(lab);
    await using sockets = new DatagramClient(lab.host("gateway"));
    await using client = new DatagramClient(lab.host("client"));
    for (const { server, from, any, unused } of FAMILIES) {
      const listener = await sockets.open({ from: at(any, LISTENER), transparent: true });
      const socket = await client.open({ from: at(from, 0) });
      const to = at(server, 9);
      await socket.send({ to, text: "first" });
      assertEquals((await listener.received()).text, "first");
      // What answers from an address that nobody writes to takes nothing.
      await sockets.open({ from: at(unused, 9), transparent: true, reuseAddress: true });
      await socket.send({ to, text: "second" });
      assertEquals((await listener.received()).text, "second");
      const connected = await sockets.open({
        from: to,
        to: socket.local,
        transparent: true,
        reuseAddress: true,
      });
      await socket.send({ to, text: "third" });
      assertEquals((await connected.received()).text, "third");
      await connected.close();
      await socket.send({ to, text: "fourth" });
      assertEquals((await listener.received()).text, "fourth");
    }
  },
);

labTest("fact: who writes first is the original direction, unless its packets are not tracked", async () => {
  for (const tracked of [true, false]) {
    await using lab = await gatewayLab();
    const host = lab.host("gateway");
    const rules = `table inet facts {
  chain output {
    type filter hook output priority raw;
    ${tracked ? "" : "meta mark 3 notrack"}
  }
  chain prerouting {
    type filter hook prerouting priority mangle;
    iifname "lan0" meta l4proto udp ct direction original counter
  }
}`;
    await host.output(["nft", "-f", "-"], { stdin: rules });
    await using sockets = new DatagramClient(host);
    await using client = new DatagramClient(lab.host("client"));
    await using server = await lab.host("internet").serveDatagrams({ kind: "mute" });
    for (const { server: address, from, unused } of FAMILIES) {
      const options = {
        from: at(unused, server.port),
        transparent: true,
        reuseAddress: true,
        mark: 3,
      } as const;
      const reply = await sockets.open(options);
      const socket = await client.open({ from: at(from, 40_000) });
      await reply.send({ to: socket.local, source: address, text: "from a stranger" });
      await socket.received();
      await socket.send({ to: at(address, server.port), text: "to the stranger" });
      await server.received();
    }
    const count = /counter packets (\d+)/.exec(await host.output(["nft", "list", "ruleset"]))![1];
    assertEquals(Number(count), tracked ? 0 : FAMILIES.length);
  }
});

labTest(
  "fact: a raw UDP socket is given a copy of every datagram for this host",
  async () => {
    await using lab = await gatewayLab();
    await using sockets = new DatagramClient(lab.host("gateway"));
    await using client = new DatagramClient(lab.host("client"));
    const raw = await sockets.open({ from: "0.0.0.0:0", raw: true });
    const open = await sockets.open({ from: `${gateway.v4}:0` });
    const socket = await client.open({ from: `${own.v4}:0` });
    await socket.send({ to: open.local, text: "for one" });
    assertEquals((await open.received()).text, "for one");
    const copy = await raw.received();
    // The copy begins with the IP header.
    assertNotEquals(copy.text, "for one");
    assertEquals(copy.bytes, 20 + 8 + "for one".length);
  },
);

labTest("fact: conntrack takes an old flow for a new one, unless a rule has asked it before", async () => {
  for (const asked of [true, false]) {
    await using lab = await gatewayLab();
    const host = lab.host("gateway");
    const load = (table: string, rule: string) => {
      const stdin = `table inet ${table} {
  chain forward {
    type filter hook forward priority 0;
    ${rule}
  }
}`;
      return host.output(["nft", "-f", "-"], { stdin });
    };
    if (asked) await load("firewall", "ct state invalid drop");
    await using client = new DatagramClient(lab.host("client"));
    await using echo = await lab.host("internet").serveDatagrams({ kind: "echo" });
    const socket = await client.open({ from: at(own.v4, 0) });
    const to = at(servers.v4, echo.port);
    await socket.ask({ to, text: "before the rule" });
    await load("facts", "ct state new counter");
    await socket.ask({ to, text: "after it" });
    const listing = await host.output(["nft", "list", "table", "inet", "facts"]);
    assertEquals(Number(/counter packets (\d+)/.exec(listing)![1]), asked ? 0 : 1);
  }
});
