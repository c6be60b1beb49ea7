/**
 * A bulk transfer: random bytes in writes of ragged sizes, up and back down at the same time, checked at both ends.
 *
 * @module
 */
import { ClientRun, type ClientSpec, seededSha256 } from "../tests/lab/mod.ts";
import { ourselves } from "./ourselves.ts";
import { ADDRESSES, PORTS } from "./stage.ts";
import { reported, type Traffic } from "./traffic.ts";

const BULK_BYTES = 32_000_000;
const SEED = 1;
const REPORT_TIMEOUT_MS = 2_000;

/** Sends to a server that echoes. */
export const BULK: Traffic = {
  name: "bulk",
  protocol: "tcp",
  port: PORTS.echo,
  end: "closed",
  async make(stage, family) {
    const spec: ClientSpec = {
      address: ADDRESSES.internet[family],
      port: PORTS.echo,
      steps: [{ do: "send", bytes: BULK_BYTES, seed: SEED }, { do: "half-close" }, { do: "await-end" }],
      connectTimeoutMs: 3_000,
      timeoutMs: 10_000,
    };
    await using run = new ClientRun(stage.client.spawn(ourselves("demo", "peer", "client")), [spec]);
    const [result] = await run.results();
    const served = await reported(stage.programs.echo.nextClosed(REPORT_TIMEOUT_MS));
    const { outcome, end, local, sent, received, receivedSha256, durationMs } = result!;
    const problems: string[] = [];
    if (outcome !== "connected") problems.push(`client: ${outcome} found, a connection wanted`);
    else if (end !== "fin") problems.push(`client: ${end} found at the end, an end of stream wanted`);
    const wanted = bulkSha256();
    return {
      client: local,
      peer: served?.peer,
      bytesUp: sent ?? 0,
      bytesDown: received ?? 0,
      durationMs,
      checksums: [
        { receiver: "server", found: served?.receivedSha256 ?? "", wanted },
        { receiver: "client", found: receivedSha256 ?? "", wanted },
      ],
      problems,
    };
  },
};

let expected: string | undefined;

/** The same for every transfer, and not free to work out. */
function bulkSha256(): string {
  return expected ??= seededSha256(SEED, BULK_BYTES);
}
