import { assertEquals } from "../tests/assert.ts";
import { contentHash } from "./content_hash.ts";

function slowly(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return hash.toString(16).padStart(16, "0");
}

Deno.test("contentHash: FNV-1a of 64 bits", () => {
  // The published test vectors of FNV-1a for the empty text, "a" and "foobar".
  assertEquals(["", "a", "foobar"].map(contentHash), [
    "cbf29ce484222325",
    "af63dc4c8601ec8c",
    "85944171f73967e8",
  ]);
  for (const text of ["10.0.0.0/8", "ä€😀", "x".repeat(1000)]) assertEquals(contentHash(text), slowly(text));
});
