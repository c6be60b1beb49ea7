/**
 * TFTP: dnsmasq serves a file of 10 MB, and two clients fetch it. The server answers from a port that the client has
 * not written to (RFC 1350), so that only a mapping that does not look at the remote's port lets anything through.
 *
 * @module
 */
import { assertEquals } from "../assert.ts";
import { createHash } from "node:crypto";
import { type LabHost, seededSha256 } from "../lab/mod.ts";
import { SeededBytes } from "../lab/seeded_bytes.ts";
import { BOTH_FAMILIES, type RealClient, type RealProgram } from "./real_program.ts";

const FILE_BYTES = 10_000_000;
const SEED = 69;
const FETCH_TIMEOUT_MS = 60_000;

/** A file of 10 MB at port 69. */
export const DNSMASQ_TFTP: RealProgram = {
  name: "dnsmasq's TFTP server",
  needs: { dnsmasq: "dnsmasq-base", tftp: "tftp-hpa", curl: "curl" },
  async start(host, folder) {
    await Deno.writeFile(`${folder}/file`, seededBytes());
    return host.spawn([
      ...["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--pid-file=", "--log-facility=-"],
      ...["--port=0", "--enable-tftp", `--tftp-root=${folder}`],
    ]);
  },
  listens: { proto: "udp", port: 69 },
  clients: [
    fetching("tftp, blocks of 512 bytes", (address, file) => [
      ...["tftp", address.includes(":") ? "-6" : "-4", "-m", "octet", address],
      ...["-c", "get", "file", file],
    ]),
    fetching("curl, blocks of 1,428 bytes: whole packets", curl(1428)),
    fetching("curl, blocks of 8,192 bytes: fragments", curl(8192)),
    fetching("curl, blocks of 65,464 bytes: the largest there are", curl(65_464)),
  ],
};

function fetching(name: string, argv: (address: string, file: string) => string[]): RealClient {
  return {
    name,
    families: BOTH_FAMILIES,
    use: (host, address, folder) => fetchFile(host, argv(address, `${folder}/fetched`), `${folder}/fetched`),
    flows: [{ proto: "udp", port: 69, bytesDown: FILE_BYTES }],
  };
}

function curl(blockBytes: number): (address: string, file: string) => string[] {
  return (address, file) => {
    const host = address.includes(":") ? `[${address}]` : address;
    return ["curl", "-sS", "--tftp-blksize", `${blockBytes}`, "-o", file, `tftp://${host}/file`];
  };
}

async function fetchFile(host: LabHost, argv: readonly string[], file: string): Promise<string> {
  // The client of tftp-hpa exits with 0 whatever happened; the file tells.
  await host.output(argv, { timeoutMs: FETCH_TIMEOUT_MS });
  const sha256 = createHash("sha256").update(await Deno.readFile(file)).digest("hex");
  await Deno.remove(file);
  assertEquals(sha256, seededSha256(SEED, FILE_BYTES));
  return sha256;
}

function seededBytes(): Uint8Array {
  const bytes = new Uint8Array(FILE_BYTES);
  const source = new SeededBytes(SEED);
  for (let filled = 0; filled < FILE_BYTES;) {
    const piece = source.next(FILE_BYTES - filled);
    bytes.set(piece, filled);
    filled += piece.length;
  }
  return bytes;
}
