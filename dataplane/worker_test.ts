import { assert, assertEquals } from "../tests/assert.ts";
import type { StartReport } from "../tests/fixtures/start_without_fds_main.ts";

const MAIN = new URL("../tests/fixtures/start_without_fds_main.ts", import.meta.url).href;

/** Epoll, a pipe, and the listeners: one, or three and a socket a family. */
const LEAST_FAILURES = { tcp: 4, sidecar: 8 };

for (const [listeners, leastFailures] of Object.entries(LEAST_FAILURES)) {
  Deno.test(`worker, ${listeners}: a start that runs out of descriptors, wherever it does, leaves no listener behind`, async () => {
    // A process of its own: the others' files would be missing in this one.
    const { success, stdout, stderr } = await new Deno.Command("sh", {
      args: [
        "-c",
        'ulimit -n 200; exec "$0" run -A --cached-only "$1" "$2"',
        Deno.execPath(),
        MAIN,
        listeners,
      ],
      env: { DENO_NO_UPDATE_CHECK: "1" },
      signal: AbortSignal.timeout(30_000),
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    const reports: StartReport[] = new TextDecoder().decode(stdout).trimEnd().split("\n").map((line) =>
      JSON.parse(line)
    );
    const last = reports.pop()!;
    assertEquals([last.said, last.sockets], [["ready", "stopped"], 0]);
    assert(reports.length >= leastFailures, `${reports.length} starts failed`);
    for (const { free, said, sockets } of reports) {
      assertEquals([said, sockets], [["EMFILE"], 0], `${free} descriptors free`);
    }
  });
}
