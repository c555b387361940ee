/** Shapes that the settings are built of. */
import { z } from 'zod';
import { setting } from './values.ts';

export function flag(value: boolean, description: string) {
  return setting(z.boolean(), 'true or false', description).default(value);
}
/** A group of settings; absent means all its defaults. */
export function group<T extends z.ZodRawShape>(shape: T, description: string) {
  return z
    .strictObject(shape)
    .meta({ description })
    .prefault({} as never);
}
