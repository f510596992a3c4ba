// Names of images, written as rbd writes them: [pool/[namespace/]]image[@snap]

export interface ImageSpec {
  pool: string;
  /** '' is the default namespace. */
  namespace: string;
  image: string;
  snap: string | null;
}
