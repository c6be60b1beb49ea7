/**
 * A worker with UDP and DNS, whose sockets need CAP_NET_ADMIN; without them: dataplane/worker_test.ts.
 */
import { assert, assertEquals } from "../assert.ts";
import { gatewayLab, labTest } from "../lab/mod.ts";
import type { StartReport } from "../fixtures/start_without_fds_main.ts";

const MAIN = new URL("../fixtures/start_without_fds_main.ts", import.meta.url).href;

labTest(
  "worker: a start with UDP that runs out of descriptors, wherever it does, leaves no socket behind",
  async () => {
    await using lab = await gatewayLab();
    const output = await lab.host("gateway").output([
      ...["sh", "-c", 'ulimit -n 200; exec "$0" run -A --cached-only "$@"', Deno.execPath(), MAIN, "udp"],
    ]);
    const reports: StartReport[] = output.trimEnd().split("\n").map((line) => JSON.parse(line));
    const last = reports.pop()!;
    assertEquals([last.said, last.sockets], [["ready", "stopped"], 0]);
    // Epoll, a pipe, TCP's listener and UDP's two.
    assert(reports.length >= 6, `${reports.length} starts failed`);
    for (const { free, said, sockets } of reports) {
      assertEquals([said, sockets], [["EMFILE"], 0], `${free} descriptors free`);
    }
  },
);
