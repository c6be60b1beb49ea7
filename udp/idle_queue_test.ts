import { assert, assertEquals } from "../tests/assert.ts";
import { IdleQueue, QueueEntry } from "./idle_queue.ts";

class Item {
  readonly entry: QueueEntry<Item> = new QueueEntry<Item>(this);
  constructor(readonly name: string, public activeTick: number) {}
}

Deno.test("idle queue: the oldest is who has been idle for longest, not who came first", () => {
  const queue = new IdleQueue<Item>();
  const [a, b, c] = [new Item("a", 1), new Item("b", 2), new Item("c", 3)];
  for (const item of [a, b, c]) queue.push(item.entry);
  assertEquals(queue.oldest()?.name, "a");
  a.activeTick = 9;
  b.activeTick = 5;
  assertEquals(queue.oldest()?.name, "c", "it alone was not active since it was queued");
  queue.remove(c.entry);
  c.activeTick = 10;
  queue.push(c.entry);
  assertEquals(queue.oldest()?.name, "b", "active again, but before a");
});

Deno.test("idle queue: entries leave from any place, and an empty queue has no oldest", () => {
  const queue = new IdleQueue<Item>();
  const items = ["a", "b", "c", "d"].map((name, tick) => new Item(name, tick));
  for (const item of items) queue.push(item.entry);
  for (const [i, left] of [[1, "a"], [0, "c"], [3, "c"], [2, undefined]] as const) {
    queue.remove(items[i]!.entry);
    assertEquals(queue.oldest()?.name, left);
  }
  assert(queue.isEmpty);
});

Deno.test("idle queue: all active at once, and somebody has to go", () => {
  const queue = new IdleQueue<Item>();
  const items = Array.from({ length: 100 }, (_, i) => new Item(`${i}`, 0));
  for (const item of items) queue.push(item.entry);
  for (const item of items) item.activeTick = 7;
  assertEquals(queue.oldest()?.name, "0");
});

Deno.test("idle queue: who was active before another was even queued goes before it", () => {
  const queue = new IdleQueue<Item>();
  const [a, b, c] = [new Item("a", 1), new Item("b", 2), new Item("c", 6)];
  for (const item of [a, b, c]) queue.push(item.entry);
  a.activeTick = 5;
  b.activeTick = 9;
  const order: string[] = [];
  for (let item = queue.oldest(); item !== undefined; item = queue.oldest()) {
    order.push(item.name);
    queue.remove(item.entry);
  }
  assertEquals(order, ["a", "c", "b"]);
});
