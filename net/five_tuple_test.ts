import { assertEquals } from "../tests/assert.ts";
import { parseEndpoint } from "./endpoint.ts";
import { formatFiveTuple } from "./five_tuple.ts";

Deno.test("formatFiveTuple: protocol, client, destination", () => {
  const client = parseEndpoint("192.0.2.7:41234")!, destination = parseEndpoint("[2001:db8::1]:443")!;
  assertEquals(
    formatFiveTuple({ protocol: "tcp", client, destination }),
    "tcp 192.0.2.7:41234 -> [2001:db8::1]:443",
  );
  assertEquals(
    formatFiveTuple({ protocol: "udp", client: destination, destination: client }),
    "udp [2001:db8::1]:443 -> 192.0.2.7:41234",
  );
});
