/**
 * What the UDP rules do to the datagrams of other hosts, in the lab's gateway. The proxy's sockets are the test's own
 * (nft_udp_lab.ts).
 *
 * @module
 */
import { DEFAULT_KERNEL_NUMBERS } from "../../nft/mod.ts";
import { assertEquals } from "../assert.ts";
import { DatagramClient, GATEWAY_LAB, gatewayLab, labTest, seededSha256 } from "../lab/mod.ts";
import { applyUdp, at, FAMILIES, trackFlows, UdpStandIn } from "./nft_udp_lab.ts";

const { gateway } = GATEWAY_LAB;
const { marks } = DEFAULT_KERNEL_NUMBERS;

labTest("nft: udp takes new flows, each client endpoint to one worker", async () => {
  await using lab = await gatewayLab();
  await using echo = await lab.host("internet").serveDatagrams({ kind: "echo" });
  await using proxy = await UdpStandIn.start(lab.host("gateway"), 2);
  await using rules = await applyUdp(lab, { udpWorkers: 2 });
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
  await using _rules = await applyUdp(lab, {});
  await using sockets = new DatagramClient(lab.host("client"));
  for (const { family, server, from } of FAMILIES) {
    const both = marks.intercept + marks.dontFragment;
    // No router fragments an IPv6 packet; whether its sender has is told by the socket.
    const mayBeFragmented = family === 4 ? marks.intercept : both;
    for (const [discover, mark] of [["do", both], ["dont", mayBeFragmented]] as const) {
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
      assertEquals(found, [bytes, seededSha256(1, bytes), at(server, 7), mayBeFragmented]);
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

  await using rules = await applyUdp(lab, { udpWorkers: 2 });
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
  await using _rules = await applyUdp(lab, { udpWorkers: 2 });
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

labTest("nft: udp: without a listener flows pass, and stay so; a drain keeps what was taken", async () => {
  await using lab = await gatewayLab();
  await using echo = await lab.host("internet").serveDatagrams({ kind: "echo" });
  await using proxy = await UdpStandIn.start(lab.host("gateway"), 2);
  await proxy.close();
  await using rules = await applyUdp(lab, { udpWorkers: 2 });
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
