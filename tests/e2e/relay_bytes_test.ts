/**
 * What is carried: every byte, in order, in both directions at once, however it is cut, and without delay.
 */
import { assert, assertEquals, assertLess } from "../assert.ts";
import { type ClientSpec, GATEWAY_LAB, labTest, seededSha256 } from "../lab/mod.ts";
import type { RawClientResult, RawStep } from "./raw_client_main.ts";
import { endpoint, RelaySite } from "./relay_site.ts";

const { v4, v6 } = GATEWAY_LAB.servers;
const RAW_CLIENT = new URL("raw_client_main.ts", import.meta.url).href;
/** Each way, over two connections: one of each family, so that both CPUs have something to do. */
const LARGE = [
  // A GiB and a bit that no buffer's size divides.
  { mode: "tproxy", bytes: 2 ** 30 + 2 * 4097 },
  { mode: "redirect", bytes: 2 ** 27 + 2 },
] as const;

for (const { mode, bytes: total } of LARGE) {
  labTest(`bytes: ${mode}: ${total} of them in both directions at once in ragged writes`, async () => {
    await using site = await RelaySite.start({ mode });
    const echo = await site.internet.serve({ kind: "echo" });
    const bytes = total / 2;
    const specs = [v4, v6].map((address, seed): ClientSpec => ({
      address,
      port: echo.port,
      timeoutMs: 60_000,
      steps: [{ do: "send", bytes, seed }, { do: "half-close" }, { do: "await-end" }],
    }));
    const results = await site.client.startClients(specs).results();
    for (const [seed, client] of results.entries()) {
      assertEquals([client.received, client.end, client.timedOut], [bytes, "fin", false]);
      assertEquals(client.receivedSha256, seededSha256(seed, bytes));
      const flow = await site.proxy.flowOf(client);
      assertEquals([flow.bytesUp, flow.bytesDown], [bytes, bytes]);
      assertEquals(flow.end, { reason: "closed", side: "client" });
    }
    const { stopped } = await site.proxy.stop();
    assertEquals([stopped.totals.tcpBytesUp, stopped.totals.tcpBytesDown], [2 * bytes, 2 * bytes]);
  }, { timeoutMs: 90_000 });
}

labTest("bytes: ten thousand writes of one byte", async () => {
  await using site = await RelaySite.start();
  const echo = await site.internet.serve({ kind: "echo" });
  const count = 10_000;
  const steps = Array.from({ length: count }, (_, seed) => ({ do: "send", bytes: 1, seed }) as const);
  const client = await site.client.connect({
    address: v6,
    port: echo.port,
    steps: [...steps, { do: "half-close" }, { do: "await-end" }],
  });
  assertEquals([client.sent, client.received, client.end], [count, count, "fin"]);
  assertEquals(client.receivedSha256, client.sentSha256);
  const flow = await site.proxy.flowOf(client);
  assertEquals([flow.bytesUp, flow.bytesDown], [count, count]);
});

for (const source of ["own", "keep"] as const) {
  labTest(`bytes: source ${source}: a server that speaks first is heard at once`, async () => {
    await using site = await RelaySite.start({ source });
    const greeter = await site.internet.serve({ kind: "source", bytes: 100, seed: 4 });
    const specs = Array.from({ length: 20 }, (_, at): ClientSpec => ({
      address: at % 2 === 0 ? v4 : v6,
      port: greeter.port,
      steps: [{ do: "await-bytes", bytes: 100 }],
    }));
    const results = await site.client.startClients(specs).results();
    for (const client of results) {
      assertEquals(client.receivedSha256, seededSha256(4, 100));
      // A lost event is waited for until the script's time is up.
      assertLess(client.durationMs, 5_000);
    }
    // Each may be held up by the others. A timer that somebody has to wait for takes 200 ms at least.
    const fastest = Math.min(...results.map(({ durationMs }) => durationMs));
    assertLess(fastest, 200);
  });
}

for (const bytes of [3, 200_000]) {
  labTest(`bytes: urgent data between ${bytes} and ${bytes} bytes is carried in its place`, async () => {
    await using site = await RelaySite.start();
    const echo = await site.internet.serve({ kind: "echo" });
    const pieces = { times: Math.ceil(bytes / 1000), size: Math.min(bytes, 1000) };
    const [before, after] = ["a", "b"].map((letter) => letter.repeat(pieces.size));
    const steps: RawStep[] = [
      { do: "send", text: "x" },
      { do: "await-bytes", bytes: 1 },
      { do: "say", line: "open" },
      { do: "listen" },
      { do: "send", text: before!, times: pieces.times },
      { do: "send", text: "!", urgent: true },
      { do: "send", text: after!, times: pieces.times },
      { do: "say", line: "sent" },
      // Before the half-close: bytes that are stuck behind the urgent one would come with the end of stream.
      { do: "await-bytes", bytes: 2 * bytes + 2 },
    ];
    const to = endpoint(v4, echo.port);
    const spec = JSON.stringify({ to, steps });
    await using client = site.client.deno(RAW_CLIENT, [spec]);
    const said = (word: string) => client.stdout.waitFor((line) => line === word || undefined, 10_000);
    await said("open");
    // The whole of it is there before the proxy reads the first byte.
    await site.proxy.process.kill("SIGSTOP");
    await client.write("\n");
    await said("sent");
    await site.proxy.process.kill("SIGCONT");
    await client.wait(10_000);
    const { received, local } = JSON.parse(client.stdout.lines.at(-1)!) as RawClientResult;
    assertEquals(received.length, 2 * bytes + 2);
    assert(received === `x${before!.repeat(pieces.times)}!${after!.repeat(pieces.times)}`);
    assertEquals((await site.proxy.flowOf({ local, peer: to })).bytesUp, 2 * bytes + 2);
  });
}

labTest("bytes: urgent bytes in the middle of a stream that does not pause", async () => {
  await using site = await RelaySite.start();
  const sink = await site.internet.serve({ kind: "sink" });
  // A megabyte each, in writes that no page's size divides, and no two alike.
  const times = 257;
  const chunks = Array.from({ length: 9 }, (_, seed) => patterned(4093, seed));
  const steps = chunks.flatMap((text, at): RawStep[] => [
    ...(at === 0 ? [] : [{ do: "send", text: "!", urgent: true } as const]),
    { do: "send", text, times },
  ]);
  const sent = chunks.map((text) => text.repeat(times)).join("!");
  const to = endpoint(v4, sink.port);
  const { code, stdout, stderr } = await site.client.run([
    ...[Deno.execPath(), "run", "-A", "--cached-only", RAW_CLIENT, JSON.stringify({ to, steps })],
  ]);
  assertEquals(code, 0, stderr);
  const { received, local } = JSON.parse(stdout) as RawClientResult;
  assertEquals(JSON.parse(received), { received: sent.length, sha256: await sha256(sent) });
  const flow = await site.proxy.flowOf({ local, peer: to });
  assertEquals([flow.bytesUp, flow.end], [sent.length, { reason: "closed", side: "client" }]);
});

for (const mode of ["tproxy", "redirect"] as const) {
  labTest(`bytes: ${mode}: an urgent byte that is there before the connection is accepted`, async () => {
    await using site = await RelaySite.start({ mode });
    const sink = await site.internet.serve({ kind: "sink" });
    const behind = patterned(20_000, 0);
    for (const address of [v4, v6]) {
      const to = endpoint(address, sink.port);
      const steps: RawStep[] = [
        { do: "send", text: "!", urgent: true },
        { do: "send", text: behind },
        { do: "say", line: "sent" },
      ];
      // The kernel completes the handshake; nobody accepts.
      await site.proxy.process.kill("SIGSTOP");
      await using client = site.client.deno(RAW_CLIENT, [JSON.stringify({ to, steps })]);
      await client.stdout.waitFor((line) => line === "sent" || undefined, 10_000);
      await site.proxy.process.kill("SIGCONT");
      await client.wait(10_000);
      const { received, local } = JSON.parse(client.stdout.lines.at(-1)!) as RawClientResult;
      const sent = `!${behind}`;
      assertEquals(JSON.parse(received), { received: sent.length, sha256: await sha256(sent) }, address);
      assertEquals((await site.proxy.flowOf({ local, peer: to })).bytesUp, sent.length);
    }
  });
}

/** Letters in which no stretch repeats soon: a piece that is missing, doubled or elsewhere shows in the digest. */
function patterned(length: number, seed: number): string {
  return String.fromCharCode(
    ...Array.from({ length }, (_, i) => 97 + (seed + i * 7 + (i >> 5) * 3 + (i >> 10)) % 26),
  );
}

async function sha256(text: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))).toHex();
}
