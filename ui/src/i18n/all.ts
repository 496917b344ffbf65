// Every language at once, for tests: a window loads one.

import { TAGS, type Tag, load } from "./languages";
import type { Texts } from "./texts";

const loaded = await Promise.all(TAGS.map(async (tag) => [tag, await load(tag)] as const));

export const LANGUAGES = Object.fromEntries(loaded) as Record<Tag, Texts>;
