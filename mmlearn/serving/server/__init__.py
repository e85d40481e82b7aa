"""A server of exported models on one machine, by the REST and gRPC contracts of TensorFlow Serving.

HTTP is uvicorn's and Starlette's, gRPC is `grpc.aio`'s with the protos of `tensorflow-serving-api`, health
`grpcio-health-checking`'s, metrics `prometheus_client`'s. Batches and versions are our own: LitServe has
no gRPC and no limit of its queue, BentoML no gRPC of one's own, kserve speaks the Open Inference
Protocol and leaves batches to Kubernetes; Ray Serve could speak both contracts, but sends each request
through several processes, which cost more than a small model, and has no place for two versions of a
SavedModel in one process, of which one drains. Beyond one machine, TF Serving or Ray Serve are the way.
"""
