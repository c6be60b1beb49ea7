/**
 * What the UDP rules do to datagrams, in the lab's gateway. The proxy's sockets are the test's own (nft_udp_lab.ts).
 *
 * @module
 */
import {
  type AppliedRules,
  applyPlan,
  DEFAULT_KERNEL_NUMBERS,
  detectHost,
  type InterceptIntent,
} from "../../nft/mod.ts";
import { assertEquals } from "../assert.ts";
import {
  type ClientSocket,
  DatagramClient,
  GATEWAY_LAB,
  gatewayLab,
  type Lab,
  labTest,
  seededSha256,
} from "../lab/mod.ts";
import { gatewayPlan, labExec } from "./nft_lab.ts";
import { at, UdpStandIn } from "./nft_udp_lab.ts";

const { client, gateway, secondClient, servers } = GATEWAY_LAB;
const { marks } = DEFAULT_KERNEL_NUMBERS;
const FAMILIES = [
  {
    family: 4,
    server: servers.v4,
    other: servers.v4b,
    from: client.v4,
    second: secondClient.v4,
    here: gateway.v4,
    wan: gateway.wanV4,
    loopback: "127.0.0.1",
    multicast: "224.0.0.251",
  },
  {
    family: 6,
    server: servers.v6,
    other: servers.v6b,
    from: client.v6,
    second: secondClient.v6,
    here: gateway.v6,
    wan: gateway.wanV6,
    loopback: "::1",
    multicast: "ff05::fb",
  },
] as const;

async function apply(lab: Lab, changes: Partial<InterceptIntent>): Promise<AppliedRules> {
  const exec = labExec(lab.host("gateway"));
  const plan = gatewayPlan({ udp: "tproxy", ...changes });
  return await applyPlan(plan, { exec, host: await detectHost(exec), hold: "owner" });
}

/**
 * The kernel tracks flows only while some rule asks it to, as any stateful firewall's or NAT's does. Where none has,
 * nothing can tell a flow from before us.
 */
async function trackFlows(lab: Lab): Promise<void> {
  const chain = "type filter hook prerouting priority filter; ct state invalid accept";
  await lab.host("gateway").output(["nft", "-f", "-"], {
    stdin: `table inet tracking { chain everything { ${chain}; }; }\n`,
  });
}

labTest("nft: udp takes new flows, each client endpoint to one worker", async () => {
  await using lab = await gatewayLab();
  await using echo = await lab.host("internet").serveDatagrams({ kind: "echo" });
  await using proxy = await UdpStandIn.start(lab.host("gateway"), 2);
  await using rules = await apply(lab, { udpWorkers: 2 });
  await using sockets = new DatagramClient(lab.host("client"));
  for (const { family, server, other, from } of FAMILIES) {
    const workers = new Set<number>();
    for (let port = 40_000; port < 40_016; port++) {
      const socket = await sockets.open({ from: at(from, port) });
      const destinations = [at(server, echo.port), at(server, 7), at(other, echo.port), at(other, 9999)];
      await socket.send(...destinations.map((to) => ({ to, text: to })));
      const taken = await proxy.taken(family, destinations.length);
      assertEquals(taken.map(({ worker }) => worker), Array(destinations.length).fill(taken[0]!.worker));
      assertEquals(taken.map(({ text }) => text), destinations);
      assertEquals(taken.map(({ destination }) => destination), destinations);
      assertEquals(taken.map((datagram) => datagram.from), Array(destinations.length).fill(socket.local));
      workers.add(taken[0]!.worker);
      // Later ones of the same flows.
      await socket.send(...destinations.map((to) => ({ to, text: to })));
      const again = await proxy.taken(family, destinations.length);
      assertEquals(again.map(({ destination }) => destination), destinations);
      assertEquals(again[0]!.worker, taken[0]!.worker);
    }
    assertEquals(workers, new Set([0, 1]));
    // Many before the first one has got through: each is a flow's first to conntrack.
    const burst = await sockets.open({ from: at(from, 41_000) });
    await burst.send(...Array.from({ length: 64 }, (_, i) => ({ to: at(server, 7), text: `${i}` })));
    const inOrder = (await proxy.taken(family, 64)).map(({ text }) => text);
    assertEquals(inOrder, Array.from({ length: 64 }, (_, i) => `${i}`));
    await burst.send({ to: at(server, 8), bytes: 12_000, segment: 1200 });
    const segments = await proxy.taken(family, 10);
    assertEquals(segments.map(({ bytes }) => bytes), Array(10).fill(1200));
  }
  assertEquals(await proxy.unexpected(), 0);
  assertEquals(echo.receivedCount, 0);
  await rules.revert();
}, { timeoutMs: 90_000 });

labTest("nft: udp tells what must not be fragmented, and large datagrams arrive whole", async () => {
  await using lab = await gatewayLab();
  await using proxy = await UdpStandIn.start(lab.host("gateway"), 1);
  await using _rules = await apply(lab, {});
  await using sockets = new DatagramClient(lab.host("client"));
  for (const { family, server, from } of FAMILIES) {
    const both = marks.intercept + marks.dontFragment;
    for (
      const [discover, mark] of [["do", family === 4 ? both : marks.intercept], [
        "dont",
        marks.intercept,
      ]] as const
    ) {
      const socket = await sockets.open({ from: at(from, 0), discover });
      // The first of a flow and a later one meet different rules.
      for (const text of ["first", "later"]) {
        await socket.send({ to: at(server, 7), text });
        const [taken] = await proxy.taken(family);
        assertEquals([taken!.text, taken!.mark], [text, mark]);
      }
    }
    const socket = await sockets.open({ from: at(from, 0) });
    for (const bytes of [9000, 65_507 - (family === 6 ? 20 : 0), 9000]) {
      await socket.send({ to: at(server, 7), bytes });
      const [taken] = await proxy.taken(family);
      const found = [taken!.bytes, taken!.sha256, taken!.destination, taken!.mark];
      assertEquals(found, [bytes, seededSha256(1, bytes), at(server, 7), marks.intercept]);
    }
  }
});

labTest("nft: udp leaves alone what it did not see begin, and what is not for others", async () => {
  await using lab = await gatewayLab();
  await trackFlows(lab);
  const internet = lab.host("internet");
  await using echo = await internet.serveDatagrams({ kind: "echo" });
  await using mute = await internet.serveDatagrams({ kind: "mute" });
  await using relay = await internet.serveDatagrams({ kind: "echo", port: 67 });
  await using outside = new DatagramClient(internet);
  await using onGateway = await lab.host("gateway").serveDatagrams({ kind: "echo" });
  await using proxy = await UdpStandIn.start(lab.host("gateway"), 2);
  await using sockets = new DatagramClient(lab.host("client"));

  const open = await Promise.all(FAMILIES.map(async (one) => {
    const { server, from } = one;
    const answered = await sockets.open({ from: at(from, 0) });
    assertEquals((await answered.ask({ to: at(server, echo.port), text: "before" })).text, "before");
    const unanswered = await sockets.open({ from: at(from, 0) });
    await unanswered.send({ to: at(server, mute.port), text: "before" });
    const served = await sockets.open({ from: at(from, 5000) });
    const asking = await outside.open({ from: at(server, 0) });
    await asking.send({ to: served.local, text: "question" });
    assertEquals((await served.received()).from, asking.local);
    return { ...one, answered, unanswered, served, asking };
  }));
  for (const _ of FAMILIES) await mute.received();

  await using rules = await apply(lab, { udpWorkers: 2 });
  for (const { server, from, here, wan, multicast, answered, unanswered, served, asking } of open) {
    assertEquals((await answered.ask({ to: at(server, echo.port), text: "after" })).text, "after");
    await unanswered.send({ to: at(server, mute.port), text: "after" });
    assertEquals((await mute.received()).from, unanswered.local);
    await served.send({ to: asking.local, text: "answer" });
    assertEquals((await asking.received()).from, served.local);
    // Asked while the rules are there.
    const late = await outside.open({ from: at(server, 0) });
    await late.send({ to: served.local, text: "question" });
    await served.send({ to: (await served.received()).from, text: "answer" });
    assertEquals((await late.received()).text, "answer");

    const socket = await sockets.open({ from: at(from, 0) });
    for (const address of [here, wan]) {
      const answer = await socket.ask({ to: at(address, onGateway.port), text: address });
      assertEquals(answer.from, at(address, onGateway.port));
    }
    assertEquals((await socket.ask({ to: at(server, 67), text: "dhcp" })).from, at(server, 67));
    await socket.send({ to: at(multicast, 5353), text: "many" });
    if (here === gateway.v4) await socket.send({ to: "169.254.1.1:7", text: "link" });
  }
  assertEquals(relay.receivedCount, 2);
  assertEquals(await proxy.unexpected(), 0);
  await rules.revert();
});

labTest("nft: udp: an answer of ours that nobody asked for begins no flow", async () => {
  await using lab = await gatewayLab();
  await using proxy = await UdpStandIn.start(lab.host("gateway"), 2);
  await using _rules = await apply(lab, { udpWorkers: 2 });
  await using sockets = new DatagramClient(lab.host("client"));
  for (const { family, server, other, from } of FAMILIES) {
    const socket = await sockets.open({ from: at(from, 0) });
    await socket.send({ to: at(server, 7), text: "question" });
    const [first] = await proxy.taken(family);
    const reply = await proxy.replySocket(family, 9);
    for (const remote of [server, other]) {
      await reply.send({ to: first!.from, source: remote, text: "unasked" });
      assertEquals((await socket.received()).from, at(remote, 9));
      await socket.send({ to: at(remote, 9), text: "thanks" });
      const [taken] = await proxy.taken(family);
      assertEquals([taken!.worker, taken!.destination], [first!.worker, at(remote, 9)]);
    }
  }
});

labTest("nft: udp takes the ports it is told, whatever becomes of TCP", async () => {
  await using lab = await gatewayLab();
  const udpPorts = [{ first: 53, last: 53 }, { first: 1000, last: 2000 }];
  for (const tcp of ["off", "redirect"] as const) {
    await using echo = await lab.host("internet").serveDatagrams({ kind: "echo", port: 2001 });
    await using proxy = await UdpStandIn.start(lab.host("gateway"), 1);
    await using rules = await apply(lab, { tcp, udpPorts });
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

labTest("nft: udp: without a listener flows pass, and stay so; a drain keeps what was taken", async () => {
  await using lab = await gatewayLab();
  await using echo = await lab.host("internet").serveDatagrams({ kind: "echo" });
  await using proxy = await UdpStandIn.start(lab.host("gateway"), 2);
  await proxy.close();
  await using rules = await apply(lab, { udpWorkers: 2 });
  await using sockets = new DatagramClient(lab.host("client"));
  const passing = await Promise.all(FAMILIES.map(async ({ server, from }) => {
    const socket = await sockets.open({ from: at(from, 0) });
    assertEquals((await socket.ask({ to: at(server, echo.port), text: "open" })).text, "open");
    return { socket, server };
  }));
  await proxy.listen(2);
  for (const { socket, server } of passing) {
    assertEquals((await socket.ask({ to: at(server, echo.port), text: "still" })).text, "still");
  }
  const open = await Promise.all(FAMILIES.map(async ({ family, server, other, from }) => {
    const socket = await sockets.open({ from: at(from, 0) });
    await socket.send({ to: at(server, echo.port), text: "new" });
    const [taken] = await proxy.taken(family);
    return { socket, family, server, other, worker: taken!.worker };
  }));
  await rules.enterDrain();
  for (const { socket, family, server, other, worker } of open) {
    await socket.send({ to: at(server, echo.port), text: "old" });
    const [taken] = await proxy.taken(family);
    assertEquals([taken!.text, taken!.worker], ["old", worker]);
    assertEquals((await socket.ask({ to: at(other, echo.port), text: "passes" })).text, "passes");
  }
  assertEquals(await proxy.unexpected(), 0);
  await rules.revert();
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
  await using rules = await apply(lab, { tcp: "off", from: [], local: true, udpWorkers: 2 });
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
  await using rules = await apply(lab, { source: "keep", udpWorkers: 2 });
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
  await using rules = await apply(lab, { source: "keep", from: ["lan0", "lan1"] });
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
  "nft: udp beside masquerading on both sides: answers keep the remote's address, and none is left behind",
  async () => {
    await using lab = await gatewayLab();
    await using echo = await lab.host("internet").serveDatagrams({ kind: "echo" });
    const chain = `type nat hook postrouting priority srcnat; oifname { "lan0", "wan0" } masquerade`;
    await lab.host("gateway").output(["nft", "-f", "-"], {
      stdin: `table inet firewall { chain all_out { ${chain}; }; }\n`,
    });
    await using proxy = await UdpStandIn.start(lab.host("gateway"), 1);
    await using rules = await apply(lab, {});
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
    // Conntrack would have kept "not translated" with the flow.
    for (const { socket, server } of open) {
      await socket.send({ to: at(server, echo.port), text: "passes" });
      let seen = await echo.received();
      while (seen.text !== "passes") seen = await echo.received();
      assertEquals(seen.from, at(server === servers.v4 ? gateway.wanV4 : gateway.wanV6, socket.port));
      assertEquals((await socket.received()).text, "passes");
    }
  },
);
