/**
 * Clients' ports under `--inbound tproxy --source keep`: a program sees its client's address with another port, which
 * must be free whenever the client's is.
 */
import { assertEquals, assertLess } from "../assert.ts";
import { labTest } from "../lab/mod.ts";
import type { RawClientResult, RawStep } from "./raw_client_main.ts";
import { BOTH_FAMILIES, endpoint, OUTSIDE_LINK, POD, SidecarSite } from "./sidecar_site.ts";

const RAW_CLIENT = new URL("raw_client_main.ts", import.meta.url).href;
const ROUNDS = 3;
/** What a client's port is to the program: half of all ports away (tcp/dial.ts). */
const PORTS = [[41_000, 8_744], [60_999, 28_743], [700, 33_280]] as const;

labTest(
  "sidecar, source keep: a client's port that is used again at once, whoever closes first",
  async () => {
    await using site = await SidecarSite.start();
    const [closing, echo] = await Promise.all([
      site.pod.serve({ kind: "close" }),
      site.pod.serve({ kind: "echo" }),
    ]);
    const proxy = await site.run(["--inbound", "tproxy", "--source", "keep"]);
    for (const family of BOTH_FAMILIES) {
      for (const [port, seenPort] of PORTS) {
        for (const server of [closing, echo]) {
          const steps: RawStep[] = server === echo ? [{ do: "send", text: "hello" }] : [];
          // Two servers have a port of their own each: one pair of client and program after the other.
          const spec = {
            from: endpoint(OUTSIDE_LINK[family], port),
            to: endpoint(POD[family], server.port),
            steps,
          };
          for (let round = 0; round < ROUNDS; round++) {
            const client = await site.outside.output([
              ...[Deno.execPath(), "run", "-A", "--cached-only", RAW_CLIENT, JSON.stringify(spec)],
            ]);
            const { received, connectMs } = JSON.parse(client) as RawClientResult;
            assertEquals(received, server === echo ? "hello" : "");
            // A SYN that was not answered is sent again after a second.
            assertLess(connectMs, 900);
            assertEquals((await server.nextClosed()).peer, endpoint(OUTSIDE_LINK[family], seenPort));
          }
        }
      }
    }
    const { tcpFinished, tcpDialFailed, tcpSourcePortChanged } = await proxy.stopByForce();
    const all = ROUNDS * BOTH_FAMILIES.length * PORTS.length * 2;
    assertEquals([tcpFinished, tcpDialFailed, tcpSourcePortChanged], [all, 0, 0]);
  },
  { timeoutMs: 90_000 },
);
