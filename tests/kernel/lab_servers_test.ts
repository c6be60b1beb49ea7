/**
 * The lab's servers do what their kind says, and its client reports what happened: told apart on the wire where the
 * difference is on the wire.
 *
 * @module
 */
import { assert, assertEquals } from "../assert.ts";
import { createHash } from "node:crypto";
import { type ClientStep, GATEWAY_LAB, gatewayLab, type Lab, labTest, seededSha256 } from "../lab/mod.ts";

const { v4, v6 } = GATEWAY_LAB.servers;
const FINISH: readonly ClientStep[] = [{ do: "half-close" }, { do: "await-end" }];

labTest("server echo: megabytes in both directions at once, whole, in both families", async () => {
  await using lab = await gatewayLab();
  await using server = await lab.host("internet").serve({ kind: "echo" });
  const bytes = 5_000_001;
  for (const address of [v4, v6]) {
    const steps: ClientStep[] = [{ do: "send", bytes, seed: 42 }, ...FINISH];
    const client = await lab.host("client").connect({ address, port: server.port, steps });
    const served = await server.nextClosed();
    const sha256 = seededSha256(42, bytes);
    const { receivedSha256, sentSha256, end, stepsDone } = client;
    assertEquals({ receivedSha256, sentSha256, end, stepsDone }, {
      receivedSha256: sha256,
      sentSha256: sha256,
      end: "fin",
      stepsDone: 3,
    });
    assertEquals([served.received, served.receivedSha256, served.end], [bytes, sha256, "fin"]);
    assertEquals([served.peer, served.local], [client.local, client.peer]);
    assertEquals(await server.nextOpened(), {
      connection: served.connection,
      local: served.local,
      peer: served.peer,
    });
  }
});

labTest("server sink: answers at the end with what it got", async () => {
  await using lab = await gatewayLab();
  await using server = await lab.host("internet").serve({ kind: "sink", address: v4 });
  const steps: ClientStep[] = [{ do: "send", bytes: 70_000, seed: 5 }, ...FINISH];
  const client = await lab.host("client").connect({ address: v4, port: server.port, steps });
  const answer = `{"received":70000,"sha256":"${seededSha256(5, 70_000)}"}\n`;
  assertEquals([client.received, client.end], [answer.length, "fin"]);
  assertEquals(client.receivedSha256, createHash("sha256").update(answer).digest("hex"));
  await lab.host("internet").connect({ address: GATEWAY_LAB.servers.v4b, port: server.port, steps: [] })
    .then(({ outcome }) => assertEquals(outcome, "refused"));
});

labTest("server source: sends what the seed says, and FIN", async () => {
  await using lab = await gatewayLab();
  await using server = await lab.host("internet").serve({ kind: "source", bytes: 1_000_000, seed: 9 });
  const client = await lab.host("client").connect({
    address: v6,
    port: server.port,
    steps: [{ do: "await-end" }],
  });
  assertEquals([client.receivedSha256, client.end], [seededSha256(9, 1_000_000), "fin"]);
  assertEquals((await server.nextClosed()).sent, 1_000_000);
});

labTest("server half-close: FIN first, and still hears everything", async () => {
  await using lab = await gatewayLab();
  await using server = await lab.host("internet").serve({ kind: "half-close" });
  const steps: ClientStep[] = [{ do: "await-end" }, { do: "send", bytes: 200_000 }, { do: "half-close" }];
  const client = await lab.host("client").connect({ address: v4, port: server.port, steps });
  assertEquals([client.end, client.stepsDone], ["fin", 3]);
  const { receivedAfterFin, receivedSha256, end } = await server.nextClosed();
  assertEquals([receivedAfterFin, receivedSha256, end], [200_000, seededSha256(1, 200_000), "fin"]);
});

labTest("server reset: a RST on the wire, at once, after receiving and after sending", async () => {
  await using lab = await gatewayLab();
  await countResets(lab);
  const cases = [
    { spec: {}, steps: [{ do: "await-end" }], received: 0 },
    {
      spec: { afterReceived: 10_000 },
      steps: [{ do: "send", bytes: 10_000 }, { do: "await-end" }],
      received: 0,
    },
    { spec: { afterSent: 5_000 }, steps: [{ do: "await-end" }], received: 5_000 },
  ] as const;
  for (const [i, { spec, steps, received }] of cases.entries()) {
    await using server = await lab.host("internet").serve({ kind: "reset", ...spec });
    const client = await lab.host("client").connect({
      address: i % 2 === 0 ? v4 : v6,
      port: server.port,
      steps,
    });
    // A RST may come before the client has looked whether it is connected.
    assertEquals(client.outcome === "reset" ? "reset" : client.end, "reset");
    // What was sent just before a RST may be thrown away by either end.
    assert((client.received ?? 0) <= received, `received ${client.received}`);
    assertEquals(await resets(lab, "from_internet"), i + 1);
  }
  assertEquals(await resets(lab, "from_client"), 0);
});

labTest("server close and mute: an end without an answer, and neither end nor answer", async () => {
  await using lab = await gatewayLab();
  await countResets(lab);
  await using close = await lab.host("internet").serve({ kind: "close" });
  const closed = await lab.host("client").connect({
    address: v4,
    port: close.port,
    steps: [{ do: "await-end" }],
  });
  assertEquals([closed.end, closed.received], ["fin", 0]);
  assertEquals(await resets(lab, "from_internet"), 0);
  await using mute = await lab.host("internet").serve({ kind: "mute" });
  const steps: ClientStep[] = [{ do: "send", bytes: 1000 }, { do: "await-bytes", bytes: 1 }];
  const silent = await lab.host("client").connect({ address: v4, port: mute.port, timeoutMs: 500, steps });
  assertEquals([silent.timedOut, silent.stepsDone, silent.received, silent.end], [true, 1, 0, "open"]);
  assertEquals((await mute.nextClosed()).received, 1000);
});

labTest("server stall: the sender is stopped by back-pressure, and goes on after resume", async () => {
  await using lab = await gatewayLab();
  await using server = await lab.host("internet").serve({ kind: "stall" });
  const bytes = 100_000_000;
  const steps: ClientStep[] = [{ do: "send", bytes, seed: 2 }, ...FINISH];
  await using run = lab.host("client").startClients([{ address: v4, port: server.port, steps }]);
  let stoppedAt = (await run.progress(({ sent }) => sent > 0)).sent;
  // Full when the count has not moved for half a second.
  for (let quiet = 0, polls = 0; quiet < 5; polls++) {
    assert(polls < 100, "the sender is never stopped");
    await new Promise((resolve) => setTimeout(resolve, 100));
    const { sent } = run.counts();
    quiet = sent === stoppedAt ? quiet + 1 : 0;
    stoppedAt = sent;
  }
  assert(stoppedAt < bytes);
  await server.resume();
  const [client] = await run.results();
  assertEquals([client!.sent, client!.end, client!.stepsDone], [bytes, "fin", 3]);
  assertEquals((await server.nextClosed()).receivedSha256, seededSha256(2, bytes));
});

labTest("server http: bulk both ways", async () => {
  await using lab = await gatewayLab();
  await using server = await lab.host("internet").serve({ kind: "http" });
  const base = `http://[${v6}]:${server.port}`;
  const script = `curl -sS --max-time 10 ${base}/bytes/1000000 | sha256sum`;
  assertEquals(
    (await lab.host("client").output(["sh", "-c", script])).split(" ")[0],
    seededSha256(0, 1_000_000),
  );
  assertEquals((await server.nextRequest()).url, `${base}/bytes/1000000`);
  const upload = ["curl", "-sS", "--max-time", "10", "--data-binary", "@-", `${base}/`];
  await lab.host("client").output(upload, { stdin: "x".repeat(300_000) });
  const { method, received } = await server.nextRequest();
  assertEquals([method, received], ["POST", 300_000]);
});

labTest("client: refused, unreachable and unanswered are told apart", async () => {
  await using lab = await gatewayLab();
  const { nowhere } = GATEWAY_LAB;
  await lab.host("internet").unreachable(`${nowhere.v4}/32`);
  await lab.host("internet").blackhole(`${nowhere.v6}/128`);
  const [refused, unreachable, dropped] = await lab.host("client").startClients([
    { address: v6, port: 9, steps: [] },
    { address: nowhere.v4, port: 9, steps: [] },
    { address: nowhere.v6, port: 9, steps: [], connectTimeoutMs: 1500 },
  ]).results();
  assertEquals([refused!.outcome, refused!.timedOut], ["refused", false]);
  assertEquals([unreachable!.outcome, unreachable!.timedOut], ["unreachable", false]);
  assertEquals([dropped!.outcome, dropped!.timedOut], ["timeout", true]);
});

labTest("client: reset and close end as RST and FIN", async () => {
  await using lab = await gatewayLab();
  await countResets(lab);
  await using server = await lab.host("internet").serve({ kind: "mute" });
  const client = lab.host("client");
  await client.connect({ address: v4, port: server.port, steps: [{ do: "send", bytes: 10 }] });
  assertEquals((await server.nextClosed()).end, "fin");
  assertEquals(await resets(lab, "from_client"), 0);
  await client.connect({
    address: v4,
    port: server.port,
    steps: [{ do: "send", bytes: 10 }, { do: "reset" }],
  });
  assertEquals((await server.nextClosed()).end, "reset");
  assertEquals(await resets(lab, "from_client"), 1);
});

/** Counts RST segments that the gateway forwards, by where they come from. */
async function countResets(lab: Lab): Promise<void> {
  const rules = `table inet count {
  counter from_client { }
  counter from_internet { }
  chain forward {
    type filter hook forward priority 0;
    iifname "lan0" tcp flags & rst == rst counter name from_client
    iifname "wan0" tcp flags & rst == rst counter name from_internet
  }
}`;
  await lab.host("gateway").output(["nft", "-f", "-"], { stdin: rules });
}

async function resets(lab: Lab, counter: "from_client" | "from_internet"): Promise<number> {
  const text = await lab.host("gateway").output(["nft", "list", "counter", "inet", "count", counter]);
  return Number(/packets (\d+)/.exec(text)![1]);
}
