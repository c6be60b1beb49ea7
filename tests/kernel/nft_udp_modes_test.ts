/**
 * The UDP rules with what can be chosen beside them: ports, TCP, this host's own traffic, source keep, and NAT.
 *
 * @module
 */
import { assertEquals } from "../assert.ts";
import { missingPrograms } from "../e2e/real_program.ts";
import {
  type ClientSocket,
  DatagramClient,
  GATEWAY_LAB,
  gatewayLab,
  labTest,
  seededSha256,
} from "../lab/mod.ts";
import { applyUdp, at, FAMILIES, trackFlows, UdpStandIn } from "./nft_udp_lab.ts";

const { gateway, servers } = GATEWAY_LAB;
const missing = missingPrograms({ conntrack: "conntrack" });
const remark = missing.length === 0 ? "" : ` (missing here: ${missing.join(", ")})`;

labTest("nft: udp takes the ports it is told, whatever becomes of TCP", async () => {
  await using lab = await gatewayLab();
  const include = [{ first: 53, last: 53 }, { first: 1000, last: 2000 }];
  for (const tcp of ["off", "redirect"] as const) {
    await using echo = await lab.host("internet").serveDatagrams({ kind: "echo", port: 2001 });
    await using proxy = await UdpStandIn.start(lab.host("gateway"), 1);
    await using rules = await applyUdp(lab, { tcp, select: { udpPorts: { include, exclude: [] } } });
    await using sockets = new DatagramClient(lab.host("client"));
    for (const { family, server, from } of FAMILIES) {
      const socket = await sockets.open({ from: at(from, 0) });
      for (const port of [53, 1000, 2000]) {
        await socket.send({ to: at(server, port), text: "taken" });
        assertEquals((await proxy.taken(family))[0]!.destination, at(server, port));
      }
      assertEquals((await socket.ask({ to: at(server, echo.port), text: "passes" })).text, "passes");
    }
    assertEquals(await proxy.unexpected(), 0);
    await rules.revert();
  }
});

labTest("nft: udp takes this host's own new flows and no others", async () => {
  await using lab = await gatewayLab();
  await trackFlows(lab);
  const here = lab.host("gateway");
  await using echo = await lab.host("internet").serveDatagrams({ kind: "echo" });
  await using outside = new DatagramClient(lab.host("internet"));
  await using onGateway = await here.serveDatagrams({ kind: "echo" });
  await using proxy = await UdpStandIn.start(here, 2);
  await using sockets = new DatagramClient(here);
  await using forwarded = new DatagramClient(lab.host("client"));
  const open = await Promise.all(FAMILIES.map(async (one) => {
    const before = await sockets.open({ from: at(one.wan, 0) });
    assertEquals((await before.ask({ to: at(one.server, echo.port), text: "before" })).text, "before");
    return { ...one, before };
  }));
  await using rules = await applyUdp(lab, { tcp: "off", from: [], local: true, udpWorkers: 2 });
  for (const { family, server, other, from, wan, loopback, before } of open) {
    assertEquals((await before.ask({ to: at(server, echo.port), text: "after" })).text, "after");
    const asking = await outside.open({ from: at(server, 0) });
    const answer = await asking.ask({ to: at(wan, onGateway.port), text: "question" });
    assertEquals(answer.from, at(wan, onGateway.port));
    const any = await sockets.open({ from: at(family === 4 ? "0.0.0.0" : "::", 0) });
    assertEquals((await any.ask({ to: at(loopback, onGateway.port), text: "lo" })).text, "lo");
    assertEquals((await any.ask({ to: at(wan, onGateway.port), text: "own" })).text, "own");
    const passing = await forwarded.open({ from: at(from, 0) });
    assertEquals((await passing.ask({ to: at(server, echo.port), text: "passes" })).text, "passes");
    const upstream = await proxy.upstreamSocket(family);
    assertEquals((await upstream.ask({ to: at(server, echo.port), text: "bypass" })).text, "bypass");
    // The outer datagrams of a VPN that takes the default route: wg-quick's mark, and Tailscale's.
    for (const mark of [0xca6c, 0x80000]) {
      const outer = await sockets.open({ from: at(wan, 0), mark });
      assertEquals((await outer.ask({ to: at(server, echo.port), text: "outer" })).text, "outer");
    }
    assertEquals(await proxy.unexpected(), 0);
    // wg-quick sets the mark when the first one may have left already.
    const early = await sockets.open({ from: at(wan, 0) });
    await early.send({ to: at(server, echo.port), text: "early" });
    assertEquals((await proxy.taken(family))[0]!.from, early.local);
    await early.close();
    const marked = await sockets.open({ from: early.local, mark: 0xca6c });
    assertEquals((await marked.ask({ to: at(server, echo.port), text: "marked" })).text, "marked");
    assertEquals(await proxy.unexpected(), 0);

    // Connected: the answer must come from the very address that was asked.
    const socket = await sockets.open({ to: at(server, echo.port) });
    await socket.send({ text: "question" });
    const [taken] = await proxy.taken(family);
    assertEquals([taken!.from, taken!.destination], [socket.local, at(server, echo.port)]);
    const reply = await proxy.replySocket(family, echo.port);
    await reply.send({ to: taken!.from, source: server, text: "answer" });
    assertEquals((await socket.received()).text, "answer");
    // A large one, so that lo's own MTU shows.
    await socket.send({ bytes: 9000 });
    assertEquals((await proxy.taken(family))[0]!.sha256, seededSha256(1, 9000));

    // Full cone: who was never written to writes first, and is answered.
    await any.send({ to: at(server, 7), text: "question" });
    const [first] = await proxy.taken(family);
    await reply.send({ to: first!.from, source: other, text: "unasked" });
    assertEquals((await any.received()).from, at(other, echo.port));
    await any.send({ to: at(other, echo.port), text: "thanks" });
    const [second] = await proxy.taken(family);
    assertEquals([second!.worker, second!.destination], [first!.worker, at(other, echo.port)]);
    await any.send({ to: at(other, echo.port), text: "more" });
    assertEquals((await proxy.taken(family))[0]!.text, "more");
  }
  await rules.enterDrain();
  for (const { server, wan } of open) {
    const socket = await sockets.open({ from: at(wan, 0) });
    assertEquals((await socket.ask({ to: at(server, echo.port), text: "passes" })).text, "passes");
  }
  assertEquals(await proxy.unexpected(), 0);
  await rules.revert();
}, { timeoutMs: 90_000 });

labTest("nft: udp with source keep: answers to the client's endpoint come back to our socket", async () => {
  await using lab = await gatewayLab();
  await using outside = new DatagramClient(lab.host("internet"));
  await using proxy = await UdpStandIn.start(lab.host("gateway"), 2);
  await using rules = await applyUdp(lab, { source: "keep", udpWorkers: 2 });
  await using sockets = new DatagramClient(lab.host("client"));
  for (const { family, server, other, from } of FAMILIES) {
    await using echo = await lab.host("internet").serveDatagrams({ kind: "echo", addresses: [server] });
    const socket = await sockets.open({ from: at(from, 0) });
    await socket.send({ to: at(server, echo.port), text: "question" });
    const [taken] = await proxy.taken(family);
    const upstream = await proxy.upstreamSocket(family, taken!.from);
    const answer = await upstream.ask({ to: taken!.destination!, text: "question" });
    assertEquals([answer.from, answer.text], [at(server, echo.port), "question"]);
    assertEquals((await echo.received()).from, socket.local);
    // Fragments, and a host that was not asked.
    assertEquals((await upstream.ask({ to: at(server, echo.port), bytes: 9000 })).bytes, 9000);
    const stranger = await outside.open({ from: at(other, 0) });
    await stranger.send({ to: socket.local, text: "unasked" });
    assertEquals((await upstream.received()).from, stranger.local);
    // The error is addressed to the client as well.
    await upstream.send({ to: at(server, 9), text: "nobody" });
    const { code, to } = await upstream.failed();
    assertEquals([code, to], ["ECONNREFUSED", at(server, 9)]);
    // What the client goes on to send is for the listener, not for the socket that stands for it.
    for (const to of [at(server, echo.port), stranger.local]) {
      await socket.send({ to, text: "more" });
      const [again] = await proxy.taken(family);
      assertEquals([again!.worker, again!.destination], [taken!.worker, to]);
    }
    assertEquals(socket.receivedCount, 0);
  }
  assertEquals(await proxy.unexpected(), 0);
  await rules.revert();
});

labTest("nft: udp with source keep: two intercepted clients talk to each other", async () => {
  await using lab = await gatewayLab({ secondClient: true });
  await using proxy = await UdpStandIn.start(lab.host("gateway"), 1);
  await using rules = await applyUdp(lab, { source: "keep", from: ["lan0", "lan1"] });
  await using sockets = new DatagramClient(lab.host("client"));
  await using others = new DatagramClient(lab.host("client2"));
  for (const { family, from, second } of FAMILIES) {
    const socket = await sockets.open({ from: at(from, 0) });
    const peer = await others.open({ from: at(second, 0) });
    await socket.send({ to: peer.local, text: "question" });
    const [taken] = await proxy.taken(family);
    assertEquals([taken!.from, taken!.destination], [socket.local, peer.local]);
    const upstream = await proxy.upstreamSocket(family, taken!.from);
    await upstream.send({ to: peer.local, text: "question" });
    assertEquals((await peer.received()).from, socket.local);
    // It comes in where new flows are taken.
    await peer.send({ to: socket.local, text: "answer" });
    assertEquals((await upstream.received()).from, peer.local);
    const stranger = await others.open({ from: at(second, 0) });
    await stranger.send({ to: socket.local, text: "unasked" });
    const [unasked] = await proxy.taken(family);
    assertEquals([unasked!.from, unasked!.destination], [stranger.local, socket.local]);
    // Its session speaks to the client in its name, and is what the client's answer is for.
    const inItsName = await proxy.upstreamSocket(family, stranger.local);
    await inItsName.send({ to: socket.local, text: "unasked" });
    assertEquals((await socket.received()).from, stranger.local);
    await socket.send({ to: stranger.local, text: "thanks" });
    assertEquals((await inItsName.received()).from, socket.local);
    await socket.send({ to: peer.local, text: "more" });
    assertEquals((await proxy.taken(family))[0]!.text, "more");
  }
  assertEquals(await proxy.unexpected(), 0);
  await rules.revert();
});

labTest(
  `nft: udp beside masquerading on both sides: answers keep the remote's address, and none is left behind${remark}`,
  async (context) => {
    await using lab = await gatewayLab();
    await using echo = await lab.host("internet").serveDatagrams({ kind: "echo" });
    const chain = `type nat hook postrouting priority srcnat; oifname { "lan0", "wan0" } masquerade`;
    await lab.host("gateway").output(["nft", "-f", "-"], {
      stdin: `table inet firewall { chain all_out { ${chain}; }; }\n`,
    });
    await using proxy = await UdpStandIn.start(lab.host("gateway"), 1);
    await using rules = await applyUdp(lab, {});
    await using sockets = new DatagramClient(lab.host("client"));
    const open: { socket: ClientSocket; server: string }[] = [];
    for (const { family, server, other, from } of FAMILIES) {
      const socket = await sockets.open({ from: at(from, 0) });
      await socket.send({ to: at(server, echo.port), text: "question" });
      const [taken] = await proxy.taken(family);
      assertEquals(taken!.from, socket.local);
      const upstream = await proxy.upstreamSocket(family);
      await upstream.ask({ to: taken!.destination!, text: "question" });
      const reply = await proxy.replySocket(family, echo.port);
      for (const remote of [server, other]) {
        await reply.send({ to: taken!.from, source: remote, text: "answer" });
        assertEquals((await socket.received()).from, at(remote, echo.port));
      }
      await socket.send({ to: at(server, echo.port), text: "more" });
      assertEquals((await proxy.taken(family))[0]!.text, "more");
      open.push({ socket, server });
    }
    await rules.revert();
    await context.step({
      name: 'conntrack has not kept "not translated" with the flow',
      ignore: missing.length > 0,
      fn: async () => {
        for (const { socket, server } of open) {
          await socket.send({ to: at(server, echo.port), text: "passes" });
          let seen = await echo.received();
          while (seen.text !== "passes") seen = await echo.received();
          assertEquals(seen.from, at(server === servers.v4 ? gateway.wanV4 : gateway.wanV6, socket.port));
          assertEquals((await socket.received()).text, "passes");
        }
      },
    });
  },
);

labTest("nft: udp: what a taken flow's other end sends by itself is not of that flow", async () => {
  await using lab = await gatewayLab({ secondClient: true });
  await using proxy = await UdpStandIn.start(lab.host("gateway"), 1);
  await using _rules = await applyUdp(lab, { from: ["lan0", "lan1"] });
  await using sockets = new DatagramClient(lab.host("client"));
  await using others = new DatagramClient(lab.host("client2"));
  for (const { family, from, second } of FAMILIES) {
    const socket = await sockets.open({ from: at(from, 0) });
    const peer = await others.open({ from: at(second, 0) });
    await socket.send({ to: peer.local, text: "question" });
    await proxy.taken(family);
    await peer.send({ to: socket.local, text: "straight" });
    assertEquals((await socket.received()).from, peer.local);
    // That was an answer to conntrack, and the flow is still ours.
    await socket.send({ to: peer.local, text: "more" });
    assertEquals((await proxy.taken(family))[0]!.text, "more");
  }
  assertEquals(await proxy.unexpected(), 0);
});
