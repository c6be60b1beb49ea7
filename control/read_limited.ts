/**
 * Reading files that ought to be short. Size tells nothing of a pipe or a device.
 *
 * @module
 */

/** All that is in a file. @throws {RangeError} for more than `mostBytes`, and what Deno throws. */
export async function readLimited(path: string, mostBytes: number): Promise<Uint8Array> {
  using file = await Deno.open(path);
  const chunk = new Uint8Array(Math.min(mostBytes + 1, CHUNK_BYTES));
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (let n: number | null; (n = await file.read(chunk)) !== null;) {
    length += n;
    if (length > mostBytes) throw new RangeError(`more than ${mostBytes} bytes`);
    chunks.push(chunk.slice(0, n));
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const each of chunks) {
    bytes.set(each, at);
    at += each.length;
  }
  return bytes;
}

const CHUNK_BYTES = 64 * 1024;
