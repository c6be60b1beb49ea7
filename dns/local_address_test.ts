import {
  AF_INET,
  AF_INET6,
  Arena,
  CmsgEncoder,
  IP_PKTINFO,
  IPV6_PKTINFO,
  SOL_IP,
  SOL_IPV6,
} from "../ffi/mod.ts";
import { assertEquals } from "../tests/assert.ts";
import { LOCAL_ADDRESS_BYTES, LocalAddress } from "./local_address.ts";

const LO = 1, ETH0 = 2;

function setUp() {
  const arena = new Arena(1024);
  const control = arena.allocate(LOCAL_ADDRESS_BYTES), sockaddr = arena.allocate(28);
  const encoder = new CmsgEncoder({ bytes: arena.bytes, words: arena.words, length: arena.bytes.length });
  encoder.start(control.offset, LOCAL_ADDRESS_BYTES);
  return { arena, control, sockaddr, encoder, local: new LocalAddress(arena) };
}

Deno.test("local address: what has been read can be written as the source of an answer", () => {
  const { arena, control, sockaddr, encoder, local } = setUp();
  // struct in_pktinfo: interface, the address that an answer had, the address that was written to.
  let data = encoder.push(SOL_IP, IP_PKTINFO, 12);
  arena.words[data >> 2] = LO;
  arena.bytes.set([127, 0, 0, 9, 127, 0, 0, 53], data + 4);
  assertEquals(local.read(control.offset, encoder.length, sockaddr.words), true);
  assertEquals([...sockaddr.bytes.slice(0, 8)], [AF_INET, 0, 0, 0, 127, 0, 0, 53]);
  control.bytes.fill(0xff);
  assertEquals(local.write(control.offset, sockaddr.words), 32);
  assertEquals([...control.bytes.slice(16, 28)], [0, 0, 0, 0, 127, 0, 0, 53, 0, 0, 0, 0]);

  encoder.start(control.offset, LOCAL_ADDRESS_BYTES);
  data = encoder.push(SOL_IPV6, IPV6_PKTINFO, 20);
  arena.bytes.set([0x20, 1, 0xd, 0xb8, ...new Array(11).fill(0), 7], data);
  arena.words[(data + 16) >> 2] = LO;
  assertEquals(local.read(control.offset, encoder.length, sockaddr.words), true);
  assertEquals(sockaddr.bytes[0], AF_INET6);
  assertEquals([...sockaddr.bytes.slice(8, 12), sockaddr.bytes[23]], [0x20, 1, 0xd, 0xb8, 7]);
  control.bytes.fill(0xff);
  assertEquals(local.write(control.offset, sockaddr.words), 40);
  assertEquals([control.bytes[16], control.bytes[31], control.bytes[32]], [0x20, 7, 0]);
});

Deno.test("local address: what came by another interface than lo is nobody's of this host", () => {
  const { arena, control, sockaddr, encoder, local } = setUp();
  const v4 = encoder.push(SOL_IP, IP_PKTINFO, 12);
  arena.words[v4 >> 2] = ETH0;
  assertEquals(local.read(control.offset, encoder.length, sockaddr.words), false);
  encoder.start(control.offset, LOCAL_ADDRESS_BYTES);
  const v6 = encoder.push(SOL_IPV6, IPV6_PKTINFO, 20);
  arena.words[(v6 + 16) >> 2] = ETH0;
  assertEquals(local.read(control.offset, encoder.length, sockaddr.words), false);
});

Deno.test("local address: nothing is read where the kernel told nothing, or cut it off", () => {
  const { arena, control, sockaddr, encoder, local } = setUp();
  assertEquals(local.read(control.offset, 0, sockaddr.words), false);
  const data = encoder.push(SOL_IP, IP_PKTINFO, 8);
  arena.words[data >> 2] = LO;
  assertEquals(local.read(control.offset, encoder.length, sockaddr.words), false);
});
