import type { DatagramUpstream } from "../flow/mod.ts";
import { assertEquals } from "../tests/assert.ts";
import { FailedUpstreams, LEFT_ALONE_MS } from "./failed_upstreams.ts";

function upstream(name: string): DatagramUpstream {
  return {
    name,
    openDatagrams() {
      throw new Error("not asked");
    },
  };
}

Deno.test("failed upstreams: one is left alone for a while, others are not", () => {
  const failed = new FailedUpstreams();
  const one = upstream("one"), other = upstream("other");
  const end = { reason: "denied", side: "upstream" } as const;
  assertEquals(failed.find(one, 0), undefined);
  failed.add(one, end, 1000);
  assertEquals(failed.find(one, 1000 + LEFT_ALONE_MS - 1), end);
  assertEquals(failed.find(other, 1000), undefined);
  assertEquals(failed.find(one, 1000 + LEFT_ALONE_MS), undefined);
});
