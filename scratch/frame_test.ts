import { assertEquals } from "../tests/assert.ts";
import { encodeFrame, encodePacket, type Headers } from "./frame.ts";

const TCP: Headers = {
  family: 4,
  protocol: "tcp",
  source: "192.0.2.1",
  sourcePort: 5555,
  destination: "198.51.100.7",
  destinationPort: 443,
  tcp: { flags: "syn", sequence: 1000, acknowledged: 0 },
  dontFragment: true,
};

/** RFC 1071: summed with its checksum, whatever is right comes to all ones. */
function sum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const bytes of parts) {
    for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) + (bytes[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

function pseudo(packet: Uint8Array, protocol: number): Uint8Array {
  const isV4 = packet[0]! >> 4 === 4;
  const addresses = isV4 ? packet.slice(12, 20) : packet.slice(8, 40);
  return Uint8Array.from([...addresses, 0, protocol, 0, packet.length - (isV4 ? 20 : 40)]);
}

Deno.test("encodePacket: IPv4: headers say what was asked, and both checksums are right", () => {
  const packet = encodePacket(TCP);
  assertEquals(packet.length, 40);
  assertEquals([packet[0], packet[6], packet[9]], [0x45, 0x40, 6]);
  assertEquals(sum(packet.slice(0, 20)), 0xffff);
  assertEquals(sum(pseudo(packet, 6), packet.slice(20)), 0xffff);
  const view = new DataView(packet.buffer, 20);
  assertEquals([view.getUint16(0), view.getUint16(2), view.getUint32(4)], [5555, 443, 1000]);
  assertEquals(packet[33], 0x02);
  const answer = encodePacket({ ...TCP, tcp: { flags: "syn-ack", sequence: 1, acknowledged: 2 } });
  assertEquals(answer[33], 0x12);
});

Deno.test("encodePacket: UDP and ICMP, both families", () => {
  const six = { ...TCP, family: 6, source: "2001:db8::1", destination: "2001:db8::2" } as const;
  const udp = encodePacket({ ...six, protocol: "udp" });
  assertEquals([udp[0], udp[6], udp.length], [0x60, 17, 40 + 16]);
  assertEquals(sum(pseudo(udp, 17), udp.slice(40)), 0xffff);
  const echo6 = encodePacket({ ...six, protocol: "icmp" });
  assertEquals([echo6[6], echo6[40]], [58, 128]);
  assertEquals(sum(pseudo(echo6, 58), echo6.slice(40)), 0xffff);
  const echo4 = encodePacket({ ...TCP, protocol: "icmp", dontFragment: false });
  assertEquals([echo4[6], echo4[9], echo4[20]], [0, 1, 8]);
  assertEquals(sum(echo4.slice(20)), 0xffff);
});

Deno.test("encodeFrame: to and from whom, and what it carries", () => {
  const frame = encodeFrame(TCP, "02:00:5e:10:00:01", "02:00:00:00:00:64");
  assertEquals(frame.slice(0, 14).toHex(), "02000000006402005e1000010800");
  assertEquals(frame.slice(14), encodePacket(TCP));
});
