// Objects in S3 as streams of bytes. The only place, with its s3-*.ts, that knows the AWS SDK.

export { connectS3, parseS3Url, type S3Connection, type S3Location, type S3Options } from './s3-client.ts';
export { s3Sink, type S3SinkOptions } from './s3-sink.ts';
export { s3Source, type S3SourceOptions } from './s3-source.ts';
