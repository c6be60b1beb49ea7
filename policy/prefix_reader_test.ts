import fc from "fast-check";
import { addressBytes, addressFromBytes, parsePrefix } from "../net/mod.ts";
import { assertEquals, assertThrows } from "../tests/assert.ts";
import { PrefixReader } from "./prefix_reader.ts";

const reader = new PrefixReader();

/** What was read, as net/ writes it. */
function readText(text: string): string {
  reader.read(text);
  const bytes = new Uint8Array(reader.family === 4 ? 4 : 16);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < bytes.length / 4; i++) view.setUint32(4 * i, reader.words[i]!);
  return `${addressFromBytes(bytes).text}/${reader.length}`;
}

/** Either reads as net/ does or refuses as it does. */
function agreesOn(text: string): void {
  const wanted = parsePrefix(text);
  if (wanted === undefined) assertThrows(() => reader.read(text), RangeError, "prefix");
  else assertEquals(readText(text), wanted.text, text);
}

const address = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.array(fc.constantFrom(0, 0, 0, 1, 0xff), { minLength: 16, maxLength: 16 }).map((all) =>
    Uint8Array.from(all)
  ),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
).map((bytes) => addressFromBytes(bytes));

Deno.test("PrefixReader: canonical prefixes, host bits or not", () => {
  fc.assert(
    fc.property(address, fc.nat(128), (one, length) => {
      const bits = 8 * addressBytes(one).length;
      agreesOn(`${one.text}/${length % (bits + 1)}`);
      agreesOn(`${one.text}/${length}`);
      agreesOn(one.text);
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("PrefixReader: the same grammar as net/ for text that is almost a prefix", () => {
  const piece = fc.constantFrom(
    "::",
    ":",
    "0",
    "1",
    "25",
    "255",
    "256",
    "00",
    "db8",
    "ffff",
    "10000",
    ".",
    "1.2.3.4",
    "/",
    "/32",
    "G",
    "F",
    "",
  );
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 18 }),
      fc.constantFrom("", "/0", "/32", "/64", "/033", "/129"),
      (pieces, end) => {
        agreesOn(pieces.join("") + end);
      },
    ),
    { numRuns: 20_000 },
  );
  fc.assert(
    fc.property(
      address,
      fc.nat(40),
      fc.constantFrom(":", ".", "0", "f", "/", " ", "-", ""),
      (one, at, put) => {
        const text = `${one.text}/24`;
        agreesOn(text.slice(0, at) + put + text.slice(at));
        agreesOn(text.slice(0, at) + put + text.slice(at + 1));
      },
    ),
    { numRuns: 5_000 },
  );
  const groups = fc.array(fc.constantFrom("0", "1", "abcd", "ABCD"), { minLength: 5, maxLength: 10 });
  fc.assert(fc.property(groups, fc.nat(10), (all, gap) => {
    agreesOn(`${all.join(":")}/64`);
    agreesOn(`${all.slice(0, gap).join(":")}::${all.slice(gap).join(":")}/64`);
  }));
});
